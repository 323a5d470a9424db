//! Segments and spans: what is read is what was written, and any other bytes are refused without a panic.
#![allow(clippy::unwrap_used, reason = "tests")]

use mesh_model::record::KeptRequest;
use proptest::collection::vec;
use proptest::prelude::*;

use super::codec::{KnownKeys, Packer, Unpacker, decode_request, encode_request};
use super::names::Names;
use super::segment::{Packed, Scan, pack, requests};
use crate::block;
use crate::conformance::records::{request, span};

fn read(packed: &Packed) -> Result<Vec<KeptRequest>, crate::Error> {
    let mut scan = Scan::unpack(&packed.scan)?;
    scan.read_texts(&packed.texts)?;
    let names = Names::read(&packed.names)?;
    let rows: Vec<usize> = (0..scan.len()).collect();
    requests(&scan, &names, &packed.rest, &rows)
}

#[test]
fn a_segment_comes_back() {
    let wanted: Vec<KeptRequest> = (1..=4096).map(request).collect();
    let packed = pack(&wanted).unwrap();
    assert!(read(&packed).unwrap() == wanted);
    let each = packed.bytes() / 4096;
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
        let change = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        };
        let inside = |packed: &[u8]| block::compress(&change(&block::decompress(packed).unwrap())).unwrap();
        let noise = block::compress(&bytes).unwrap();
        let whole = pack(&wanted).unwrap();
        let damaged: [&dyn Fn(&mut Packed); 8] = [
            &|packed| packed.scan.clone_from(&noise),
            &|packed| packed.texts.clone_from(&noise),
            &|packed| packed.names.clone_from(&bytes),
            &|packed| packed.rest.clone_from(&bytes),
            &|packed| packed.scan = inside(&whole.scan),
            &|packed| packed.texts = inside(&whole.texts),
            &|packed| packed.names = change(&whole.names),
            &|packed| packed.rest = change(&whole.rest),
        ];
        for damage in damaged {
            let mut packed = pack(&wanted).unwrap();
            damage(&mut packed);
            let _ = read(&packed);
        }
        // The first byte is the layout's version.
        let old: Vec<u8> = [1].into_iter().chain(bytes.iter().copied()).collect();
        let _ = Scan::unpack(&block::compress(&old).unwrap());
        let known = &mut KnownKeys::new();
        let _ = decode_request(&[1; 16], &[1; 8], &change(&encode_request(&request(1))), known);
        let _ = decode_request(&[1; 16], &[1; 8], &bytes, known);
        let mut unpacker = Unpacker::new().unwrap();
        let packed = Packer::new().unwrap().span(&span(1, 2)).unwrap();
        let _ = unpacker.span(&[1; 16], &[1; 8], &change(&packed));
        let _ = unpacker.span(&[1; 16], &[1; 8], &bytes);
    }
}
