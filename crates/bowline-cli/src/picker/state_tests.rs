//! The picker's state, driven by keys and news alone.

use bowline::inventory::Extent;

use super::*;

fn row(cluster: &str, service: Option<&str>, task: Option<&str>) -> Row {
    Row::at(Place::new(cluster, service, task, None))
}

fn rows() -> Vec<Row> {
    vec![
        row("dev", None, None),
        row("dev", Some("web"), None),
        row("prod", None, None),
        row("prod", Some("api"), None),
        row("prod", Some("web"), None),
        row("prod", Some("web"), Some("3f2a01")),
        row("prod", Some("web"), Some("77cc02")),
        row("prod", Some("worker"), None),
    ]
}

fn purpose() -> Purpose {
    Purpose {
        action: "log in",
        several: false,
        clusters: false,
    }
}

fn state() -> State {
    State::new(purpose(), Inventory::of(rows()), &[], None, "")
}

fn typed(state: &mut State, text: &str) {
    for letter in text.chars() {
        state.key(&Key::Text(letter.to_string()));
    }
}

fn found(state: &mut State) -> Vec<String> {
    state.set_height(100);
    state
        .visible()
        .map(|(row, ..)| row.place.to_string())
        .collect()
}

fn selected(state: &State) -> String {
    state
        .selected()
        .map(|row| row.place.to_string())
        .unwrap_or_default()
}

#[test]
fn typing_leaves_what_matches_the_best_first() {
    let mut state = state();
    assert_eq!(found(&mut state).len(), 8);
    typed(&mut state, "prod web");
    assert_eq!(
        found(&mut state),
        ["prod/web", "prod/web 3f2a01", "prod/web 77cc02"]
    );
    typed(&mut state, " 77");
    assert_eq!(found(&mut state), ["prod/web 77cc02"]);
    state.key(&Key::DeleteWord);
    assert_eq!(state.text(), "prod web ");
    assert_eq!(found(&mut state).len(), 3);
    state.key(&Key::DeleteToStart);
    typed(&mut state, "wr");
    assert_eq!(found(&mut state), ["prod/worker"]);
    typed(&mut state, "x");
    assert!(found(&mut state).is_empty());
    assert_eq!(
        state.key(&Key::Enter),
        Outcome::Stay,
        "there is nothing to choose"
    );
}

/// What is found letter by letter is what is found at once.
#[test]
fn narrowing_finds_what_searching_finds() {
    for query in [
        "prod/we",
        "^prod web",
        "p w 'b",
        "dev | wrk",
        "web !dev",
        "web$",
        "a\\ b",
    ] {
        let mut by_letter = state();
        typed(&mut by_letter, query);
        let mut at_once = State::new(purpose(), Inventory::of(rows()), &[], None, query);
        assert_eq!(found(&mut by_letter), found(&mut at_once), "{query}");
    }
}

#[test]
fn the_line_is_edited_where_the_caret_is() {
    let mut state = state();
    typed(&mut state, "日本");
    state.key(&Key::Left);
    typed(&mut state, "x");
    assert_eq!((state.text(), state.caret()), ("日x本", 4));
    state.key(&Key::Backspace);
    state.key(&Key::Delete);
    assert_eq!((state.text(), state.caret()), ("日", 3));
    state.key(&Key::CaretHome);
    state.key(&Key::Backspace);
    state.key(&Key::Left);
    typed(&mut state, "y");
    state.key(&Key::CaretEnd);
    state.key(&Key::Right);
    typed(&mut state, "z");
    assert_eq!(state.text(), "y日z");
}

#[test]
fn the_cursor_stays_within_the_list_and_in_view() {
    let mut state = state();
    state.set_height(3);
    let steps = [
        (Key::Up, 0),
        (Key::Down, 1),
        (Key::PageDown, 3),
        (Key::End, 7),
        (Key::Down, 7),
        (Key::PageUp, 5),
        (Key::Home, 0),
    ];
    for (key, at) in steps {
        state.key(&key);
        assert_eq!(selected(&state), rows()[at].place.to_string(), "{key:?}");
        let shown = state.visible();
        assert_eq!(shown.filter(|(_, _, selected, _)| *selected).count(), 1);
    }
}

#[test]
fn recent_picks_come_first_then_the_current_cluster() {
    let recents = [rows()[7].place.clone(), rows()[1].place.clone()];
    let current = Some("prod".to_owned());
    let mut state = State::new(purpose(), Inventory::of(rows()), &recents, current, "");
    assert_eq!(found(&mut state)[..3], ["prod/worker", "dev/web", "prod"]);
    typed(&mut state, "web");
    assert_eq!(found(&mut state)[..2], ["dev/web", "prod/web"]);
    typed(&mut state, " ^prod");
    assert_eq!(found(&mut state)[0], "prod/web", "only among what matches");
}

#[test]
fn news_do_not_move_the_cursor_from_its_row() {
    let mut state = state();
    state.set_height(3);
    for _ in 0..5 {
        state.key(&Key::Down);
    }
    let line_of_cursor = |state: &State| state.visible().position(|(_, _, selected, _)| selected);
    let line = line_of_cursor(&state);
    assert_eq!(selected(&state), "prod/web 3f2a01");
    state.event(InventoryEvent::Rows(vec![
        row("aaa", None, None),
        row("aaa", Some("one"), None),
        row("zzz", None, None),
    ]));
    assert_eq!(selected(&state), "prod/web 3f2a01");
    assert_eq!(line_of_cursor(&state), line, "nor from its line");

    // What is gone gives way to what followed it.
    state.event(InventoryEvent::Complete(Extent::Tasks("prod".into())));
    assert_eq!(selected(&state), "prod/worker");
}

/// A better match that comes late must not slip under Enter.
#[test]
fn a_late_better_match_is_seen_and_not_chosen() {
    let mut state = State::new(purpose(), Inventory::default(), &[], None, "");
    state.event(InventoryEvent::Rows(vec![row(
        "dev",
        Some("webhooks"),
        None,
    )]));
    typed(&mut state, "web");
    state.set_height(5);
    state.event(InventoryEvent::Rows(vec![row("dev", Some("web"), None)]));
    assert_eq!(found(&mut state), ["dev/web", "dev/webhooks"]);
    assert_eq!(selected(&state), "dev/webhooks");
}

#[test]
fn the_first_rows_of_all_take_the_cursor_to_the_top() {
    let mut state = State::new(purpose(), Inventory::default(), &[], None, "");
    state.set_height(5);
    state.event(InventoryEvent::Rows(vec![row("prod", None, None)]));
    state.settle();
    state.event(InventoryEvent::Rows(vec![row("dev", None, None)]));
    assert_eq!(selected(&state), "dev");
}

#[test]
fn a_picture_without_matches_leaves_the_cursor_at_the_top() {
    let mut state = State::new(purpose(), Inventory::default(), &[], None, "web");
    state.set_height(5);
    state.settle();
    state.event(InventoryEvent::Rows(vec![row(
        "dev",
        Some("webhooks"),
        None,
    )]));
    state.event(InventoryEvent::Rows(vec![row("dev", Some("web"), None)]));
    assert_eq!(selected(&state), "dev/web");
}

#[test]
fn enter_on_a_cluster_shows_what_is_in_it() {
    let mut state = state();
    typed(&mut state, "prod$");
    assert_eq!(selected(&state), "prod");
    assert_eq!(state.key(&Key::Enter), Outcome::Stay);
    assert_eq!(state.text(), "^prod/ ");
    assert_eq!(found(&mut state).len(), 5);
    typed(&mut state, "api");
    let Outcome::Chosen(rows) = state.key(&Key::Enter) else {
        panic!("a service can be chosen");
    };
    assert_eq!(rows[0].place.to_string(), "prod/api");
}

#[test]
fn several_are_marked_where_several_are_wanted() {
    let several = Purpose {
        several: true,
        clusters: true,
        ..purpose()
    };
    let mut state = State::new(several, Inventory::of(rows()), &[], None, "");
    state.key(&Key::Toggle(true));
    state.key(&Key::Toggle(true));
    state.key(&Key::Toggle(false));
    assert_eq!((state.marked(), selected(&state).as_str()), (3, "dev/web"));
    state.key(&Key::Toggle(true));
    assert_eq!(state.marked(), 2, "a second time takes the mark away");
    // Marks stay when the query hides them.
    typed(&mut state, "api");
    let Outcome::Chosen(rows) = state.key(&Key::Enter) else {
        panic!("what is marked is chosen");
    };
    let chosen: Vec<String> = rows.iter().map(|row| row.place.to_string()).collect();
    assert_eq!(chosen, ["dev", "prod"]);

    let mut single = self::state();
    single.key(&Key::Toggle(true));
    assert_eq!((single.marked(), selected(&single).as_str()), (0, "dev"));
}

#[test]
fn leaving_needs_no_row() {
    let mut state = State::new(purpose(), Inventory::default(), &[], None, "");
    for key in [
        Key::Up,
        Key::PageDown,
        Key::End,
        Key::Toggle(true),
        Key::Enter,
    ] {
        assert_eq!(state.key(&key), Outcome::Stay);
    }
    typed(&mut state, "x");
    assert_eq!(state.key(&Key::LeaveIfEmpty), Outcome::Stay);
    assert_eq!(state.key(&Key::Leave), Outcome::Leave);
}
