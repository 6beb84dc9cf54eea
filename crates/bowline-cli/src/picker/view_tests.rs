//! What people see, in the sizes of a small terminal and a large one.

use bowline::inventory::{Counts, Inventory, InventoryEvent, Place};
use bowline::model::Readiness;

use super::*;
use crate::picker::keys::Key;
use crate::picker::state::Purpose;

/// 2026-11-21T10:00:00Z
const NOW: i64 = 1_795_255_200;

fn made(place: Place, facts: impl FnOnce(&mut Row)) -> Row {
    let mut row = Row::at(place);
    facts(&mut row);
    row
}

fn inventory() -> Inventory {
    let at = |service, task, container| Place::new("prod", service, task, container);
    let id = "3f2a9c1db05e4c7f8a6b1c2d3e4f5a6b";
    let other = "b1946ac92492d2347c6235b4d2611184";
    let started = |seconds: i64| Some(jiff::Timestamp::from_second(NOW - seconds).unwrap());
    let counts = |desired, running, pending| {
        Some(Counts {
            desired,
            running,
            pending,
        })
    };
    Inventory::of(vec![
        made(at(None, None, None), |row| {
            row.status = Some("ACTIVE".into());
            row.counts = counts(None, 3, 0);
        }),
        made(at(Some("web"), None, None), |row| {
            row.status = Some("ACTIVE".into());
            row.counts = counts(Some(3), 2, 1);
            row.definition = Some("web:7".into());
            row.started_at = started(40 * 86_400);
            row.events = vec![
                "(service web) has started 1 tasks: (task b1946ac92492d2347c6235b4d2611184)."
                    .into(),
                "(service web) は安定しています。".into(),
            ];
        }),
        made(at(Some("web"), Some(id), None), |row| {
            row.status = Some("RUNNING".into());
            row.health = Some("HEALTHY".into());
            row.definition = Some("web:7".into());
            row.image = Some("shop/web:2026.11.1".into());
            row.started_at = started(3 * 3_600);
            row.exec = Some(Readiness::Ready);
        }),
        made(at(Some("web"), Some(id), Some("app")), |row| {
            row.status = Some("RUNNING".into());
            row.image = Some("shop/web:2026.11.1".into());
            row.started_at = started(3 * 3_600);
            row.exec = Some(Readiness::Ready);
        }),
        made(at(Some("web"), Some(other), None), |row| {
            row.status = Some("PENDING".into());
            row.started_at = started(12);
            row.exec = Some(Readiness::Pending("task is PENDING".into()));
        }),
        made(
            at(
                Some("a-service-with-a-name-that-is-much-too-long-for-any-column"),
                Some(id),
                Some("報告書"),
            ),
            |row| {
                row.status = Some("RUNNING".into());
                row.image = Some("shop/報告:1".into());
                row.started_at = started(200_000);
                row.exec = Some(Readiness::NotEnabled);
            },
        ),
    ])
}

fn picker(query: &str) -> State {
    let purpose = Purpose {
        action: "log in",
        several: true,
        clusters: false,
    };
    State::new(purpose, inventory(), &[], None, query)
}

fn screen(state: &mut State, columns: u16, rows: u16) -> String {
    let area = Rect::new(0, 0, columns, height(rows));
    state.set_height(usize::from(Layout::of(area).list.height));
    let mut buffer = Buffer::empty(area);
    let theme = Theme { colour: false };
    draw(state, theme, NOW, &mut Scorer::default(), &mut buffer);
    let mut text = String::new();
    for y in 0..area.height {
        let mut x = 0;
        let mut line = String::new();
        while x < area.width {
            let symbol = buffer.cell((x, y)).unwrap().symbol();
            line.push_str(symbol);
            x += symbol.width().max(1) as u16;
        }
        assert!(line.width() <= usize::from(columns), "{line:?}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[test]
fn a_small_terminal_shows_rows_and_below_them_what_is_known_of_one() {
    let mut state = picker("");
    state.key(&Key::Down);
    state.key(&Key::Down);
    insta::assert_snapshot!(screen(&mut state, 80, 24), @r"
    >                                                             6 of 6, listing 0%
      prod                                         cluster  3 running
      prod/a-service-with-a…-for-any-column/報告書 3f2a9c1d exec off              2d
    > prod/web                                     service  2/3 running +1       40d
      prod/web                                     3f2a9c1d ready                 3h
      prod/web/app                                 3f2a9c1d ready                 3h
      prod/web                                     b1946ac9 PENDING              12s



    ────────────────────────────────────────────────────────────────────────────────
    service web
    cluster  prod
    status   ACTIVE, 2/3 running, 1 pending, created 40d ago
    exec     ready in 1 of 2 tasks
    runs     web:7
    events   (service web) has started 1 tasks: (task b1946ac92492d2347c6235b4d26111
    enter log in · tab mark · esc leave · 'exact ^begin end$ !not a | b
    ");
}

#[test]
fn a_large_terminal_shows_it_beside_them() {
    let mut state = picker("web");
    state.key(&Key::Toggle(true));
    insta::assert_snapshot!(screen(&mut state, 200, 50), @r"
    > web                                                                                                                                                                       4 of 6, 1 marked, listing 0%
     *prod/web                                                                   service  2/3 running +1       40d │ task 3f2a9c1db05e4c7f8a6b1c2d3e4f5a6b
    > prod/web                                                                   3f2a9c1d ready                 3h │ cluster  prod, service web
      prod/web                                                                   b1946ac9 PENDING              12s │ status   RUNNING, HEALTHY, started 3h ago
      prod/web/app                                                               3f2a9c1d ready                 3h │ image    shop/web:2026.11.1
                                                                                                                   │ exec     ready
                                                                                                                   │ runs     web:7
                                                                                                                   │ events   (service web) has started 1 tasks: (task b1946ac92492d2347c6235b4d2611184).
                                                                                                                   │          (service web) は安定しています。
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
                                                                                                                   │
    enter log in · tab mark · esc leave · 'exact ^begin end$ !not a | b
    ");
}

#[test]
fn a_narrow_terminal_shows_names_only() {
    insta::assert_snapshot!(screen(&mut picker("wb"), 40, 12), @r"
    > wb                                 4/6
    > prod/web                      service
      prod/web                      3f2a9c1d
      prod/web                      b1946ac9
      prod/web/app                  3f2a9c1d




    enter log in · tab mark · esc leave · 'e
    ");
}

#[test]
fn what_keeps_one_out_is_said_in_words() {
    let mut state = picker("報告");
    insta::assert_snapshot!(screen(&mut state, 80, 24), @r"
    > 報告                                                        1 of 6, listing 0%
    > prod/a-service-with-a…-for-any-column/報告書 3f2a9c1d exec off              2d








    ────────────────────────────────────────────────────────────────────────────────
    container 報告書 in task 3f2a9c1db05e4c7f8a6b1c2d3e4f5a6b
    cluster  prod, service a-service-with-a-name-that-is-much-too-long-for-any-colum
    status   RUNNING, started 2d ago
    image    shop/報告:1
    exec     off: the task was started without ECS Exec and has to be replaced

    enter log in · tab mark · esc leave · 'exact ^begin end$ !not a | b
    ");
}

#[test]
fn no_size_is_too_small() {
    for columns in 1..130 {
        for rows in 1..30 {
            let mut state = picker("web 日本");
            state.event(InventoryEvent::Done(
                bowline::inventory::LoadFigures::default(),
            ));
            screen(&mut state, columns, rows);
            screen(&mut picker(""), columns, rows);
        }
    }
}

#[test]
fn the_middle_of_a_long_name_goes() {
    let shown = |text: &str, width| -> String {
        fitted(text, &[], width)
            .iter()
            .map(|(letter, _)| letter)
            .collect()
    };
    assert_eq!(shown("prod/web", 8), "prod/web");
    assert_eq!(shown("prod/web-shop/app", 9), "prod…/app");
    assert_eq!(shown("日本語の名前", 7), "日…名前");
    assert_eq!(shown("abc", 1), "…");
    assert_eq!(shown("abc", 0), "");
}

#[test]
fn what_matches_is_marked() {
    let marks = fitted("prod/web", &[0, 5, 7], 8);
    let marked: String = marks
        .iter()
        .filter(|(_, is)| *is)
        .map(|(letter, _)| letter)
        .collect();
    assert_eq!(marked, "pwb");
}
