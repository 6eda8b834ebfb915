//! Remit: the reference monitor for AI agents on the host.
