//! Health from exact counts (pure).
//!
//! Kiali's tolerances, judged per protocol: failed requests (5xx, no answer, gRPC status other than 0, TCP flags)
//! warn from 0.1 % and fail from 10 %; 4xx are judged apart and warn from 10 %, fail from 20 %. Unlike there, a ratio
//! fails only from [`MIN_REQUESTS`] requests on (below it warns), so one error in a quiet minute is no failure, and
//! 4xx of fewer requests say nothing at all.

use mesh_api::inventory::Health;

/// Fewest requests whose ratio can fail.
const MIN_REQUESTS: u64 = 5;
/// Tolerances, per mille.
const ERRORS_WARN: u64 = 1;
const ERRORS_FAIL: u64 = 100;
const CLIENT_ERRORS_WARN: u64 = 100;
const CLIENT_ERRORS_FAIL: u64 = 200;

/// Requests of one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) client_errors: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.client_errors += other.client_errors;
    }

    /// Health of these requests.
    pub(crate) fn health(self) -> Health {
        if self.requests == 0 {
            return Health::Unknown;
        }
        let reaches = |count: u64, tolerance: u64| {
            u128::from(count) * 1000 >= u128::from(self.requests) * u128::from(tolerance)
        };
        let enough = self.requests >= MIN_REQUESTS;
        let errors = match self.errors {
            0 => Health::Ok,
            n if enough && reaches(n, ERRORS_FAIL) => Health::Fail,
            n if reaches(n, ERRORS_WARN) => Health::Warn,
            _ => Health::Ok,
        };
        let client_errors = match self.client_errors {
            n if enough && reaches(n, CLIENT_ERRORS_FAIL) => Health::Fail,
            n if enough && reaches(n, CLIENT_ERRORS_WARN) => Health::Warn,
            _ => Health::Ok,
        };
        errors.max(client_errors)
    }
}

/// Health of instances: all ready says nothing (traffic does), some warn, none fail.
pub(crate) fn of_instances(pods: u32, ready: u32) -> Health {
    match (pods, ready) {
        (0, _) => Health::Unknown,
        (_, 0) => Health::Fail,
        (pods, ready) if ready < pods => Health::Warn,
        _ => Health::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, Health, of_instances};

    #[track_caller]
    fn check(requests: u64, errors: u64, client_errors: u64, wanted: Health) {
        let counts = Counts {
            requests,
            errors,
            client_errors,
        };
        assert_eq!(counts.health(), wanted, "{counts:?}");
    }

    #[test]
    fn ratios() {
        check(0, 0, 0, Health::Unknown);
        check(1000, 0, 0, Health::Ok);
        check(10_000, 9, 0, Health::Ok);
        check(1000, 1, 0, Health::Warn);
        check(1000, 99, 0, Health::Warn);
        check(1000, 100, 0, Health::Fail);
        check(4, 4, 0, Health::Warn);
        check(5, 5, 0, Health::Fail);
        check(1000, 0, 99, Health::Ok);
        check(1000, 0, 100, Health::Warn);
        check(1000, 0, 200, Health::Fail);
        check(4, 0, 4, Health::Ok);
        // Judged apart, never summed.
        check(100, 9, 19, Health::Warn);
        check(u64::MAX, u64::MAX, 0, Health::Fail);
    }

    #[test]
    fn instances() {
        for (pods, ready, wanted) in [
            (0, 0, Health::Unknown),
            (2, 2, Health::Unknown),
            (2, 1, Health::Warn),
            (1, 0, Health::Fail),
        ] {
            assert_eq!(of_instances(pods, ready), wanted, "{ready} of {pods}");
        }
    }
}
