//! Segments and spans: what is read is what was written, and any other bytes are refused without a panic.
#![allow(clippy::unwrap_used, reason = "tests")]

use mesh_model::record::KeptRequest;
use proptest::collection::vec;
use proptest::prelude::*;

use super::codec::{Packer, Unpacker, decode_request, encode_request};
use super::segment::{Names, Scan, pack, requests};
use crate::block;
use crate::conformance::records::{request, span};

fn read(scan: &[u8], names: &[u8], rest: &[u8]) -> Result<Vec<KeptRequest>, crate::Error> {
    let scan = Scan::unpack(scan)?;
    let names = Names::read(names)?;
    let rows: Vec<usize> = (0..scan.len()).collect();
    requests(&scan, &names, rest, &rows)
}

#[test]
fn a_segment_comes_back() {
    let wanted: Vec<KeptRequest> = (1..=4096).map(request).collect();
    let packed = pack(&wanted).unwrap();
    assert!(read(&packed.scan, &packed.names, &packed.rest).unwrap() == wanted);
    let each = (packed.scan.len() + packed.names.len() + packed.rest.len()) / wanted.len();
    assert!(each < 120, "{each} bytes a request");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn damage_is_refused_without_a_panic(
        bytes in vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let wanted: Vec<KeptRequest> = (1..=150).map(request).collect();
        let packed = pack(&wanted).unwrap();
        let compressed = block::compress(&bytes).unwrap();
        let _ = read(&compressed, &packed.names, &packed.rest);
        let _ = read(&packed.scan, &bytes, &packed.rest);
        let _ = read(&packed.scan, &packed.names, &bytes);
        let change = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        };
        let scan = block::compress(&change(&block::decompress(&packed.scan).unwrap())).unwrap();
        let _ = read(&scan, &packed.names, &packed.rest);
        let _ = read(&packed.scan, &change(&packed.names), &packed.rest);
        let _ = read(&packed.scan, &packed.names, &change(&packed.rest));
        let _ = decode_request(&[1; 16], &[1; 8], &change(&encode_request(&request(1))));
        let _ = decode_request(&[1; 16], &[1; 8], &bytes);
        let mut unpacker = Unpacker::new().unwrap();
        let packed = Packer::new().unwrap().span(&span(1, 2)).unwrap();
        let _ = unpacker.span(&[1; 16], &[1; 8], &change(&packed));
        let _ = unpacker.span(&[1; 16], &[1; 8], &bytes);
    }
}
