//! What is known so far: pages that came one after another, and a tail that grows. Pure.

use std::collections::VecDeque;

use mesh_api::requests::KeptRequest;

/// Most requests that a page holds.
pub const HELD_MOST: usize = 5000;

/// Newer answers first, each request once, at most [`HELD_MOST`].
pub fn merged(fresh: &[KeptRequest], known: &[KeptRequest]) -> Vec<KeptRequest> {
    let mut all: Vec<KeptRequest> = fresh.to_vec();
    let held: std::collections::HashSet<(String, String)> = fresh
        .iter()
        .map(|request| (request.trace.clone(), request.span.clone()))
        .collect();
    all.extend(
        known
            .iter()
            .filter(|request| !held.contains(&(request.trace.clone(), request.span.clone())))
            .cloned(),
    );
    // RFC 3339 in UTC with one precision: as text it has the order of time.
    all.sort_by(|a, b| b.started.cmp(&a.started));
    all.truncate(HELD_MOST);
    all
}

/// A live tail: the newest requests, and what a reader who paused it has not seen.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tail {
    shown: VecDeque<KeptRequest>,
    waiting: VecDeque<KeptRequest>,
    /// Arrived while paused, and were given up because the buffer was full.
    pub missed: u64,
    /// Nothing moves.
    pub paused: bool,
}

/// A tail holds so many; older ones are found by their time.
pub const TAIL_MOST: usize = 1000;

impl Tail {
    /// Takes what has arrived, oldest first or not: each goes to the top.
    pub fn take(&mut self, arrived: Vec<KeptRequest>) {
        let buffer = if self.paused {
            &mut self.waiting
        } else {
            &mut self.shown
        };
        for request in arrived {
            if buffer
                .iter()
                .take(400)
                .any(|known| known.trace == request.trace && known.span == request.span)
            {
                continue;
            }
            buffer.push_front(request);
        }
        let beyond = buffer.len().saturating_sub(TAIL_MOST);
        buffer.truncate(TAIL_MOST);
        if self.paused {
            self.missed += u64::try_from(beyond).unwrap_or(0);
        }
    }

    /// Stops, or goes on with what has waited.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
        if !paused {
            let waiting = std::mem::take(&mut self.waiting);
            for request in waiting.into_iter().rev() {
                self.shown.push_front(request);
            }
            self.shown.truncate(TAIL_MOST);
            self.missed = 0;
        }
    }

    /// Requests that a paused reader has not seen.
    pub fn unseen(&self) -> u64 {
        u64::try_from(self.waiting.len()).unwrap_or(0) + self.missed
    }

    /// On the screen, newest first.
    pub fn requests(&self) -> Vec<KeptRequest> {
        self.shown.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(at: usize) -> KeptRequest {
        KeptRequest {
            trace: format!("{at:032x}"),
            span: "1".into(),
            started: format!("2026-11-24T10:00:{at:05}Z"),
            ..KeptRequest::default()
        }
    }

    fn names(requests: &[KeptRequest]) -> Vec<usize> {
        let name = |request: &KeptRequest| usize::from_str_radix(&request.trace, 16).unwrap_or(0);
        requests.iter().map(name).collect()
    }

    #[test]
    fn pages_join_without_doubles() {
        for (fresh, known, expected) in [
            (vec![3, 2], vec![], vec![3, 2]),
            (vec![3, 2], vec![2, 1], vec![3, 2, 1]),
            (vec![1], vec![3, 2], vec![3, 2, 1]),
            (vec![], vec![2, 1], vec![2, 1]),
        ] {
            let make = |list: &[usize]| list.iter().copied().map(request).collect::<Vec<_>>();
            assert_eq!(names(&merged(&make(&fresh), &make(&known))), expected);
        }
        let many: Vec<KeptRequest> = (0..HELD_MOST + 10).map(request).collect();
        assert_eq!(merged(&many, &[]).len(), HELD_MOST);
    }

    #[test]
    fn a_tail_is_bounded_and_waits() {
        let mut tail = Tail::default();
        tail.take(vec![request(1), request(2), request(2)]);
        assert_eq!(names(&tail.requests()), [2, 1]);
        tail.pause(true);
        tail.take((10..TAIL_MOST + 15).map(request).collect());
        assert_eq!(names(&tail.requests()), [2, 1]);
        assert_eq!(tail.unseen(), 1005);
        assert_eq!(tail.missed, 5);
        tail.pause(false);
        assert_eq!(tail.requests().len(), TAIL_MOST);
        assert_eq!(names(&tail.requests()).first(), Some(&(TAIL_MOST + 14)));
        assert_eq!(tail.unseen(), 0);
    }
}
