//! Network endpoints that were allowed.

use agent_common::{id::Tag, limits::ENDPOINTS_KEPT};

use super::entry::{begin, end, place, read_field, write_fields};
use crate::{maps::ENDPOINTS, request::Endpoint};

/// Whether an entry allows the session an endpoint, under the policy and epoch of `stamp`
/// ([`crate::standing::stamp`]).
#[inline(always)]
pub(crate) fn allows_endpoint(tag: &Tag, endpoint: &Endpoint, stamp: u64) -> bool {
    let entry = ENDPOINTS.get(endpoint_place(tag, endpoint));
    let sequence = read_field!(entry.sequence);
    sequence & 1 == 0
        && read_field!(entry.stamp) == stamp
        && read_field!(entry.session) == tag.session
        && read_field!(entry.address[0]) == endpoint.address.0[0]
        && read_field!(entry.address[1]) == endpoint.address.0[1]
        && read_field!(entry.port) == endpoint.port
        && read_field!(entry.flow) == endpoint.flow
        && read_field!(entry.sequence) == sequence
}

/// Stores that an endpoint is allowed.
#[inline(always)]
pub(crate) fn store_endpoint(tag: &Tag, endpoint: &Endpoint, stamp: u64) {
    let entry = ENDPOINTS.get_mut(endpoint_place(tag, endpoint));
    let Some(before) = begin(&mut entry.sequence) else { return };
    write_fields!(entry:
        stamp = stamp;
        session = tag.session;
        address = endpoint.address.0;
        port = endpoint.port;
        flow = endpoint.flow;
    );
    end(&mut entry.sequence, before);
}

/// The place of the entry for an endpoint and a session.
#[inline(always)]
fn endpoint_place(tag: &Tag, endpoint: &Endpoint) -> u32 {
    let [high, low] = endpoint.address.0;
    let ends = u64::from(endpoint.port) << 16 | u64::from(endpoint.flow);
    place(high ^ low.rotate_left(32) ^ ends ^ tag.session.0, ENDPOINTS_KEPT)
}
