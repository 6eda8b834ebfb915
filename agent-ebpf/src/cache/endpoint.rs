//! The endpoints that were found to be allowed.

use agent_common::{id::Tag, limits::ENDPOINTS_KEPT};

use super::entry::{begin, end, place, read_field, write_fields};
use crate::{maps::ENDPOINTS, request::Endpoint};

/// Whether an entry says that the session may use an endpoint, for the policy and the state of its authority that
/// the stamp ([`crate::standing::stamp`]) stands for.
#[inline(always)]
pub(crate) fn allows_endpoint(tag: &Tag, endpoint: &Endpoint, stamp: u64) -> bool {
    // SAFETY: a map's value is valid.
    let entry = unsafe { &*ENDPOINTS.at(endpoint_place(tag, endpoint)) };
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

/// Keeps that an endpoint is allowed.
#[inline(always)]
pub(crate) fn store_endpoint(tag: &Tag, endpoint: &Endpoint, stamp: u64) {
    // SAFETY: a map's value is valid.
    let entry = unsafe { &mut *ENDPOINTS.at(endpoint_place(tag, endpoint)) };
    let Some(before) = begin(&raw mut entry.sequence) else { return };
    write_fields!(entry:
        stamp = stamp;
        session = tag.session;
        address = endpoint.address.0;
        port = endpoint.port;
        flow = endpoint.flow;
    );
    end(&raw mut entry.sequence, before);
}

/// Where the entry for an endpoint and a session lies.
#[inline(always)]
fn endpoint_place(tag: &Tag, endpoint: &Endpoint) -> u32 {
    let [high, low] = endpoint.address.0;
    let ends = u64::from(endpoint.port) << 16 | u64::from(endpoint.flow);
    place(high ^ low.rotate_left(32) ^ ends ^ tag.session.0, ENDPOINTS_KEPT)
}
