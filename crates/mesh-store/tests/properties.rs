//! What holds for any input: codecs give back what they got, refuse other bytes without a panic, and quantiles stay
//! within 1 % however windows are added up.
#![allow(clippy::unwrap_used, reason = "tests")]

use mesh_model::edge::{SeriesDelta, SeriesKey};
use mesh_model::histogram::ExponentialHistogram;
use mesh_store::block::{self, Block};
use mesh_store::conformance;
use mesh_store::sums::{Keys, Sum, Sums};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn key() -> impl Strategy<Value = SeriesKey> {
    (
        ".{0,12}",
        0..600_u16,
        any::<bool>(),
        proptest::option::of(0..17_u16),
    )
        .prop_map(|(name, code, tls, grpc)| {
            let mut key = conformance::key(&name, code);
            key.mutual_tls = tls;
            key.grpc_status = grpc;
            key.origin.route = name.chars().rev().collect();
            key
        })
}

fn delta() -> impl Strategy<Value = SeriesDelta> {
    (
        0..1_u64 << 40,
        0..1_u64 << 40,
        btree_map(-40_000..40_000, 1..1_u64 << 40, 0..20),
        0..1000_u64,
        0.0..1e12,
        prop_oneof![3 => Just(0_u8), 1 => 0..6_u8],
    )
        .prop_map(
            |(requests, bytes, buckets, zero_count, sum, coarser)| SeriesDelta {
                requests,
                attempts: requests / 2,
                duration: ExponentialHistogram {
                    coarser,
                    zero_count,
                    count: zero_count + buckets.values().sum::<u64>(),
                    sum,
                    buckets,
                },
                request_bytes: bytes,
                response_bytes: bytes / 3,
            },
        )
}

fn blocks() -> impl Strategy<Value = Block> {
    btree_map(key(), delta(), 0..30)
}

/// A block with its keys apart.
fn apart(block: &Block) -> (Keys, Sums) {
    let (mut keys, mut sums) = (Keys::default(), Sums::default());
    for (key, delta) in block {
        sums.at(keys.place(key)).add(delta);
    }
    (keys, sums)
}

fn together(keys: &Keys, sums: &Sums) -> Block {
    let key = |place: u32| keys.list().get(place as usize).cloned().unwrap();
    sums.iter()
        .map(|(place, sum)| (key(place), sum.delta()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn blocks_come_back(block in blocks()) {
        let read: Block = block::unpack(&block::pack(&block).unwrap()).unwrap().into_iter().collect();
        prop_assert_eq!(&read, &block);
        let (keys, sums) = apart(&block);
        let mut keys = Keys::unpack(&keys.pack().unwrap()).unwrap();
        let mut read = Sums::default();
        read.add_block(&sums.pack().unwrap(), &mut keys, None).unwrap();
        prop_assert_eq!(together(&keys, &read), block.clone());
        // A block of the format before has its keys itself.
        let (mut keys, mut read) = (Keys::default(), Sums::default());
        read.add_block(&block::pack(&block).unwrap(), &mut keys, None).unwrap();
        prop_assert_eq!(together(&keys, &read), block);
    }

    #[test]
    fn sums_add_up_in_any_order(one in blocks(), other in blocks()) {
        let mut wanted = one.clone();
        for (key, delta) in &other {
            block::add(&mut wanted, key, delta);
        }
        for (first, second) in [(&one, &other), (&other, &one)] {
            let (mut keys, mut sums) = apart(first);
            let mut more = Sums::default();
            for (key, delta) in second {
                more.at(keys.place(key)).add(delta);
            }
            sums.merge(&more);
            let found = together(&keys, &sums);
            prop_assert_eq!(found.len(), wanted.len());
            for (key, delta) in found {
                let wanted = &wanted[&key];
                prop_assert_eq!(delta.duration.coarser, wanted.duration.coarser);
                prop_assert_eq!(&delta.duration.buckets, &wanted.duration.buckets);
                prop_assert_eq!((delta.requests, delta.duration.count), (wanted.requests, wanted.duration.count));
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..400)) {
        let _ = block::decode(&bytes);
        let _ = block::unpack(&bytes);
        let packed = zstd::bulk::compress(&bytes, 1).unwrap();
        let _ = block::unpack(&packed);
        let _ = Keys::unpack(&packed);
        for version in [1, 2, 3, 4] {
            let bytes: Vec<u8> = [version].into_iter().chain(bytes.iter().copied()).collect();
            let packed = zstd::bulk::compress(&bytes, 1).unwrap();
            let _ = block::decode(&bytes);
            let (mut keys, _) = apart(&Block::from([(conformance::key("a", 200), SeriesDelta::default())]));
            let _ = Sums::default().add_block(&packed, &mut keys, None);
        }
    }

    /// Damage in the middle of true bytes gets further than noise.
    #[test]
    fn damaged_blocks_are_read_or_refused(block in blocks(), at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        let (mut keys, sums) = apart(&block);
        let packed = sums.pack().unwrap();
        let mut plain = zstd::bulk::decompress(&packed, 1 << 24).unwrap();
        let series: Vec<_> = block.iter().collect();
        let mut old = block::encode(&series);
        for bytes in [&mut plain, &mut old] {
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            let _ = block::decode(bytes);
            let _ = Sums::default().add_block(&zstd::bulk::compress(bytes, 1).unwrap(), &mut keys, None);
        }
    }

    /// Windows of any size, added up in any grouping, through the codec.
    #[test]
    fn quantiles_are_within_one_percent(
        values in vec(0.01_f64..100_000.0, 1..400),
        windows in 1..12_usize,
        quantile in 0.01_f64..1.0,
    ) {
        let mut keys = Keys::default();
        let place = keys.place(&conformance::key("a", 200));
        let mut total = Sums::default();
        for part in values.chunks(values.len().div_ceil(windows)) {
            let mut delta = SeriesDelta::default();
            part.iter().for_each(|value| delta.duration.record(*value));
            let mut window = Sums::default();
            window.at(place).add(&delta);
            total.add_block(&window.pack().unwrap(), &mut keys, None).unwrap();
        }
        let (_, sum) = total.iter().next().unwrap();
        let histogram = Sum::delta(sum).duration;
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (quantile * sorted.len() as f64).ceil().max(1.0) as usize;
        let exact = sorted[rank.min(sorted.len()) - 1];
        let found = histogram.quantile(quantile).unwrap();
        prop_assert!((found / exact - 1.0).abs() <= 0.0055, "{found} for {exact}");
    }
}
