//! Types that Remit's kernel programs and its daemon share.
#![no_std]
