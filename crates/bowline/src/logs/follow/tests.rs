//! Whole streams, read on a virtual clock.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A stream of a service, on a virtual clock: lines become visible at their times.
struct Service {
    /// When each line is written and when it can be read, in milliseconds from the start.
    lines: Vec<(u64, u64)>,
    /// When the stream appears.
    appears: u64,
    page: usize,
    /// Of so many reads only the last succeeds.
    fails: usize,
}

impl Service {
    fn answer(&self, at: Duration, from: &Origin) -> Option<Page> {
        let at = u64::try_from(at.as_millis()).unwrap();
        if at < self.appears {
            return None;
        }
        let first = match from {
            Origin::Time(_) => 0,
            Origin::Token(token) => token.parse().unwrap(),
        };
        let visible = self.lines.iter().take_while(|(_, seen)| *seen <= at);
        let events: Vec<Event> = visible
            .enumerate()
            .skip(first)
            .take(self.page)
            .map(|(number, (written, seen))| Event {
                timestamp: i64::try_from(*written).unwrap(),
                ingested: i64::try_from(*seen).unwrap(),
                message: number.to_string(),
            })
            .collect();
        Some(Page {
            next: (first + events.len()).to_string(),
            events,
        })
    }
}

struct Ran {
    lines: Vec<String>,
    end: End,
    took: Duration,
    calls: usize,
}

/// Follows until the end; the container stops at `stop`.
fn run(service: &Service, stop: u64, drain: Drain) -> Ran {
    let start = Instant::now();
    let mut now = start;
    let pace = Pace {
        drain,
        ..Pace::default()
    };
    let mut follower = Follower::new(pace);
    let stream = follower.add(now, Origin::Time(None), false);
    let (mut lines, mut calls) = (Vec::new(), 0_usize);
    let stop = start + Duration::from_millis(stop);
    let mut stopped = false;
    loop {
        if !stopped && now >= stop {
            follower.stopped(now, stream, Duration::ZERO);
            stopped = true;
        }
        match follower.step(now) {
            Step::Read { stream, from } => {
                calls += 1;
                let answer = service.answer(now - start, &from);
                now += Duration::from_millis(30);
                match answer {
                    _ if !calls.is_multiple_of(service.fails) => {
                        follower.failed(now, stream);
                    }
                    Some(page) => {
                        let events = follower.page(now, stream, page);
                        lines.extend(events.into_iter().map(|event| event.message));
                    }
                    None => follower.absent(now, stream),
                }
            }
            Step::Wait(until) => {
                now = if stopped {
                    until
                } else {
                    until.min(stop.max(now + Duration::from_millis(1)))
                }
            }
            Step::Idle => match follower.end(stream) {
                Some(end) => {
                    let took = now.saturating_duration_since(stop);
                    return Ran {
                        lines,
                        end,
                        took,
                        calls,
                    };
                }
                None => unreachable!("it waits for nothing"),
            },
        }
    }
}

fn usual() -> Drain {
    Drain::within(Drain::CAP)
}

/// So many lines in a burst at the start, readable in uneven batches after `delays` in turn.
fn burst(count: u64, delays: &[u64]) -> Service {
    let mut seen = 0;
    let lines = (0..count).map(|number| {
        let batch = usize::try_from(number / 37).unwrap() % delays.len();
        seen = seen.max(number + delays[batch]);
        (number, seen)
    });
    Service {
        lines: lines.collect(),
        appears: 500,
        page: 100,
        fails: 1,
    }
}

#[test]
fn every_line_comes_once_and_in_order() {
    for delays in [&[0][..], &[4000], &[100, 4000, 300, 2500], &[9000, 200]] {
        let ran = run(&burst(2000, delays), 2100, usual());
        let expected: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
        assert_eq!(ran.lines, expected, "{delays:?}");
        assert_eq!(ran.end, End::Out, "{delays:?}");
    }
}

#[test]
fn lines_that_are_twenty_seconds_late_are_waited_for_once_one_was_seen() {
    // The first line is on time, so the service is known to be late with the second only when it comes.
    let mut service = burst(40, &[20_000]);
    service.lines.insert(0, (0, 1000));
    service.lines[1..]
        .iter_mut()
        .for_each(|line| line.1 = line.1.max(20_000));
    let ran = run(&service, 16_000, usual());
    assert_eq!((ran.lines.len(), ran.end), (41, End::Out));
}

#[test]
fn an_empty_stream_and_an_absent_one_are_told_apart() {
    let empty = Service {
        lines: Vec::new(),
        appears: 0,
        page: 10,
        fails: 1,
    };
    let ran = run(&empty, 1000, usual());
    assert_eq!(ran.end, End::Empty);
    assert!((10..12).contains(&ran.took.as_secs()), "{:?}", ran.took);
    let absent = Service {
        appears: 1_000_000,
        ..empty
    };
    let ran = run(&absent, 1000, usual());
    assert_eq!(ran.end, End::Absent);
    assert!((15..17).contains(&ran.took.as_secs()), "{:?}", ran.took);
}

#[test]
fn reads_that_fail_are_no_sign_of_anything() {
    // Every seventh read succeeds: there is just time for two after the stop.
    let mut service = Service {
        fails: 7,
        ..burst(2000, &[4000])
    };
    service.page = 10_000;
    let ran = run(&service, 2100, usual());
    assert_eq!((ran.lines.len(), ran.end), (2000, End::Unread));
    // None does: neither an empty nor an absent stream, and no end before the last moment.
    service.fails = 1000;
    let ran = run(&service, 2100, usual());
    assert_eq!((ran.lines.len(), ran.end), (0, End::Unread));
    assert!((30..33).contains(&ran.took.as_secs()), "{:?}", ran.took);
    // A stream that was read before is not out because it cannot be read after the stop.
    let start = Instant::now();
    let mut follower = Follower::new(Pace::default());
    let stream = follower.add(start, Origin::Time(None), false);
    assert!(matches!(follower.step(start), Step::Read { .. }));
    let event = Event::default();
    let page = Page {
        events: vec![event],
        next: "1".into(),
    };
    follower.page(start, stream, page);
    follower.stopped(start, stream, Duration::ZERO);
    let mut now = start;
    while follower.end(stream).is_none() {
        match follower.step(now) {
            Step::Read { stream, .. } => follower.failed(now, stream),
            Step::Wait(until) => now = until,
            Step::Idle => {}
        }
    }
    assert_eq!(follower.end(stream), Some(End::Unread));
    assert!(now - start >= 30 * SECOND, "{:?}", now - start);
}

#[test]
fn a_quiet_stream_is_out_five_seconds_after_the_stop() {
    let ran = run(&burst(10, &[200]), 1000, usual());
    assert_eq!(ran.end, End::Out);
    assert!((5..7).contains(&ran.took.as_secs()), "{:?}", ran.took);
    assert!(ran.calls < 16, "{} calls", ran.calls);
    // Nobody has to wait longer than he likes.
    let ran = run(&burst(10, &[200]), 1000, Drain::within(Duration::ZERO));
    assert_eq!((ran.lines.len(), ran.end), (10, End::Out));
    assert!(ran.took < 3 * SECOND, "{:?}", ran.took);
}

#[test]
fn lines_that_never_end_are_cut_off() {
    let forever = Service {
        lines: (0..200)
            .map(|number| (number * 500, number * 500))
            .collect(),
        appears: 0,
        page: 10,
        fails: 1,
    };
    let ran = run(&forever, 1000, usual());
    assert_eq!(ran.end, End::Capped);
    assert!((30..33).contains(&ran.took.as_secs()), "{:?}", ran.took);
}

#[test]
fn idle_streams_share_a_rate_and_the_longest_waiting_is_first() {
    let start = Instant::now();
    let mut follower = Follower::new(Pace::default());
    for _ in 0..40 {
        follower.add(start, Origin::Token("0".into()), false);
    }
    let (mut now, mut reads) = (start, vec![0; 40]);
    while now < start + 60 * SECOND {
        match follower.step(now) {
            Step::Read { stream, .. } => {
                reads[stream] += 1;
                let page = Page {
                    next: "0".into(),
                    ..Page::default()
                };
                follower.page(now, stream, page);
            }
            Step::Wait(until) => now = until,
            Step::Idle => unreachable!("answers come at once"),
        }
    }
    let all: u32 = reads.iter().sum();
    assert!((230..=244).contains(&all), "{all}");
    assert!(
        reads.iter().all(|count| (5..=7).contains(count)),
        "{reads:?}"
    );
}

#[test]
fn one_idle_stream_costs_twelve_calls_a_minute() {
    let start = Instant::now();
    let mut follower = Follower::new(Pace::default());
    let stream = follower.add(start, Origin::Token("0".into()), false);
    let (mut now, mut calls) = (start, 0);
    while now < start + 120 * SECOND {
        match follower.step(now) {
            Step::Read { .. } => {
                // The first minute is for getting there.
                calls += u32::from(now >= start + 60 * SECOND);
                let page = Page {
                    next: "0".into(),
                    ..Page::default()
                };
                follower.page(now, stream, page);
            }
            Step::Wait(until) => now = until,
            Step::Idle => unreachable!("answers come at once"),
        }
    }
    assert_eq!(calls, 12);
    follower.ring(now, stream);
    assert!(matches!(follower.step(now), Step::Read { .. }));
}

#[test]
fn a_lost_token_repeats_nothing() {
    let start = Instant::now();
    let mut follower = Follower::new(Pace::default());
    let stream = follower.add(start, Origin::Time(None), false);
    let event = |number: i64| Event {
        timestamp: number,
        ingested: number,
        message: number.to_string(),
    };
    assert!(matches!(follower.step(start), Step::Read { .. }));
    let first = Page {
        events: vec![event(1), event(2), event(2)],
        next: "3".into(),
    };
    assert_eq!(follower.page(start, stream, first).len(), 3);
    assert!(matches!(follower.step(start), Step::Read { .. }));
    follower.token_lost(start, stream);
    let again = Step::Read {
        stream,
        from: Origin::Time(Some(2)),
    };
    assert_eq!(follower.step(start), again);
    let page = Page {
        events: vec![event(2), event(2), event(3)],
        next: "4".into(),
    };
    assert_eq!(follower.page(start, stream, page), [event(3)]);
}

/// Whoever else writes into a stream may do so for ever.
#[test]
fn a_shared_stream_is_read_on_for_its_time_and_again_when_somebody_joins() {
    let start = Instant::now();
    let mut follower = Follower::new(Pace::default());
    let stream = follower.add(start, Origin::Time(None), true);
    let read = |follower: &mut Follower, from: Instant, busy: bool, until: Instant| {
        let (mut now, mut token) = (from, 0);
        while now < until {
            match follower.step(now) {
                Step::Read { from, .. } => {
                    token += u32::from(busy);
                    let next = match (busy, from) {
                        (false, Origin::Token(token)) => token,
                        _ => format!("{now:?} {token}"),
                    };
                    let events = vec![Event::default(); usize::from(busy)];
                    follower.page(now, stream, Page { events, next });
                }
                Step::Wait(then) => now = then.min(until),
                Step::Idle => break,
            }
        }
        now - from
    };
    read(&mut follower, start, true, start + 5 * SECOND);
    assert_eq!(follower.end(stream), None);
    // It stopped long ago; only the time of reading counts.
    let stop = start + 5 * SECOND;
    follower.stopped(stop, stream, 3600 * SECOND);
    let took = read(&mut follower, stop, true, stop + 60 * SECOND);
    assert_eq!(follower.end(stream), Some(End::Capped));
    assert!((30..32).contains(&took.as_secs()), "{took:?}");
    // A new task writes into it: it is read on until that has ended too.
    let again = stop + 100 * SECOND;
    follower.started(again, stream);
    assert_eq!(follower.end(stream), None);
    read(&mut follower, again, false, again + 20 * SECOND);
    assert_eq!(follower.end(stream), None);
    let stop = again + 20 * SECOND;
    follower.stopped(stop, stream, Duration::ZERO);
    let took = read(&mut follower, stop, false, stop + 60 * SECOND);
    assert_eq!(follower.end(stream), Some(End::Out));
    assert!((5..8).contains(&took.as_secs()), "{took:?}");
}
