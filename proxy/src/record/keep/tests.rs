use super::*;

const SHARE: Share = Share {
    errors: ERRORS,
    slow: SLOW,
    samples: SAMPLES,
    workers: 1,
};
const MS: u64 = 1_000_000;

/// Judges one request after the other; how many were kept and missed for `reason`.
fn judged(
    state: &mut RouteState,
    samples: &mut Samples,
    requests: impl IntoIterator<Item = (bool, u64, u64)>,
    reason: KeptReason,
) -> (usize, usize) {
    let verdicts: Vec<_> = requests
        .into_iter()
        .map(|(error, ns, at_ms)| state.judge(error, ns, at_ms, SHARE, samples, 500))
        .collect();
    let of = |wanted: Verdict| verdicts.iter().filter(|v| **v == wanted).count();
    (of(Verdict::Keep(reason)), of(Verdict::Missed(reason)))
}

fn fresh() -> (RouteState, Samples) {
    (RouteState::new(false, 0), Samples::default())
}

#[test]
fn a_bucket_holds_what_is_put_into_it() {
    for ns in [
        0,
        1,
        1023,
        1024,
        1151,
        1152,
        999_999,
        1_000_000,
        123_456_789,
        60_000_000_000,
    ] {
        let at = bucket(ns);
        assert!(ns < upper(at), "{ns} in {at}");
        assert!(at == 0 || ns >= upper(at - 1), "{ns} in {at}");
    }
    assert_eq!(bucket(u64::MAX), BUCKETS - 1);
}

#[test]
fn errors_are_kept_up_to_fifty_a_second() {
    let (mut state, mut samples) = fresh();
    let second = |s: u64| (0..120).map(move |n| (true, MS, s * 1000 + n));
    assert_eq!(
        judged(&mut state, &mut samples, second(3), KeptReason::Error),
        (50, 70)
    );
    assert_eq!(
        judged(&mut state, &mut samples, second(4), KeptReason::Error),
        (50, 70)
    );
    let few = (0..7).map(|n| (true, MS, 5000 + n));
    assert_eq!(judged(&mut state, &mut samples, few, KeptReason::Error), (7, 0));
}

#[test]
fn a_second_is_always_slow() {
    let (mut state, mut samples) = fresh();
    let requests = [
        (false, 999 * MS, 10),
        (false, 1001 * MS, 20),
        (true, 1001 * MS, 30),
    ];
    assert_eq!(
        judged(&mut state, &mut samples, requests, KeptReason::Slow),
        (1, 0)
    );
}

#[test]
fn slow_is_what_one_in_a_hundred_is() {
    let (mut state, mut samples) = fresh();
    // Ten seconds of 5 ms, with one in two hundred at 80 ms.
    let usual = |from: u64| {
        (0..2000_u64).map(move |n| (false, if n % 200 == 0 { 80 * MS } else { 5 * MS }, from + n * 5))
    };
    assert_eq!(
        judged(&mut state, &mut samples, usual(0), KeptReason::Slow),
        (0, 0)
    );
    // From then on 80 ms stands out, and 5 ms does not.
    let (kept, missed) = judged(&mut state, &mut samples, usual(10_000), KeptReason::Slow);
    assert_eq!((kept, missed), (10, 0));
    // When everything is slow, nothing is: the usual time follows.
    for round in 2..8 {
        let all = (0..2000_u64).map(move |n| (false, 80 * MS, round * 10_000 + n * 5));
        judged(&mut state, &mut samples, all, KeptReason::Slow);
    }
    let again = (0..100_u64).map(|n| (false, 80 * MS, 80_000 + n));
    assert_eq!(judged(&mut state, &mut samples, again, KeptReason::Slow), (0, 0));
}

#[test]
fn slow_ones_are_kept_up_to_ten_a_second() {
    let (mut state, mut samples) = fresh();
    let flood = (0..100).map(|n| (false, 2000 * MS, 7000 + n));
    assert_eq!(
        judged(&mut state, &mut samples, flood, KeptReason::Slow),
        (10, 90)
    );
}

#[test]
fn few_requests_have_no_usual_time() {
    let (mut state, mut samples) = fresh();
    let few = (0..150_u64).map(|n| (false, 5 * MS, n * 60));
    judged(&mut state, &mut samples, few, KeptReason::Slow);
    let later = [(false, 100 * MS, 10_001), (false, 100 * MS, 10_002)];
    assert_eq!(judged(&mut state, &mut samples, later, KeptReason::Slow), (0, 0));
}

#[test]
fn a_sample_of_the_rest_is_kept() {
    let (mut state, mut samples) = fresh();
    // Ten seconds of a thousand a second; the draw makes gaps of one second.
    let steady = (0..10_000_u64).map(|n| (false, MS, n));
    assert_eq!(
        judged(&mut state, &mut samples, steady, KeptReason::Sample),
        (10, 0)
    );
    // Quiet routes are seen too.
    let rare = [(false, MS, 60_000), (false, MS, 120_000)];
    assert_eq!(judged(&mut state, &mut samples, rare, KeptReason::Sample), (2, 0));
}

#[test]
fn samples_of_many_routes_are_bounded_together() {
    let mut samples = Samples::default();
    let kept = (0..100)
        .map(|_| {
            judged(
                &mut RouteState::new(false, 0),
                &mut samples,
                [(false, MS, 1)],
                KeptReason::Sample,
            )
            .0
        })
        .sum::<usize>();
    assert_eq!(kept, 10);
}

#[test]
fn excluded_routes_keep_nothing() {
    let mut state = RouteState::new(true, 0);
    let all = [(true, MS, 1), (false, 2000 * MS, 2), (false, MS, 3)];
    for reason in KeptReason::ALL {
        assert_eq!(judged(&mut state, &mut Samples::default(), all, reason), (0, 0));
    }
}

#[test]
fn workers_share_the_numbers() {
    let keeper = Keeper::new(4);
    assert_eq!(
        (keeper.share.errors, keeper.share.slow, keeper.share.samples),
        (13, 3, 3)
    );
    assert_eq!(Keeper::new(0).share.errors, ERRORS);
}
