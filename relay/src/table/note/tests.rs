use border::{Component, Content, Signalled, Sinks};

use super::*;

fn cell() -> Cell {
    std::array::from_fn(|_| AtomicU64::new(0))
}

#[test]
fn a_note_that_is_being_written_is_not_read_and_the_one_before_holds() {
    let cell = cell();
    assert_eq!(read(&cell), None);
    for has_rest in [true, false, true] {
        write(&cell, std::iter::repeat_n(7, WORDS), true);
        write(&cell, std::iter::repeat_n(8, WORDS), has_rest);
        let mut expected = [8; WORDS];
        expected[BEGINNING..].fill(if has_rest { 8 } else { 0 });
        assert_eq!(read(&cell), Some((expected, has_rest)));
        // Killed in the middle of the next one.
        let next = copy(&cell, cell[0].load(Ordering::Relaxed) + TURN);
        next.into_iter().flatten().take(WORDS / 2).for_each(|word| word.store(9, Ordering::Relaxed));
        assert_eq!(read(&cell), Some((expected, has_rest)));
    }
}

fn spec(call: u64) -> SourceSpec {
    SourceSpec {
        call,
        component: Component::Rtp,
        local: "192.0.2.1:30000".parse().unwrap(),
        party: Signalled::default(),
        mux: false,
        sinks: Sinks::new(),
        tos: None,
        clock_khz: 8,
        blocked: false,
        content: Content::Rtp,
        announcement: None,
        security: None,
    }
}

const SLOTS: usize = SLOTS_PER_LOCAL as usize;
const PORTS: [(u16, u16); 1] = [(30000, 30099)];
const INDEX: SlotIndex = SlotIndex::new(0, 30000);

fn open(path: &Path, shape: &str) -> Notes {
    Notes::open(path, SLOTS, [shape, "maps"], &PORTS).unwrap()
}

#[test]
fn a_file_is_gone_on_with_where_it_is_of_the_same_shape_and_else_it_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    let clock = Clock::now();
    let notes = open(&path, "one");
    write(notes.cell(INDEX).unwrap(), std::iter::once(key(&spec(5))).chain(std::iter::repeat(0)), false);
    notes.carried(INDEX).unwrap().count(100);
    drop(notes);
    let notes = open(&path, "one");
    assert!(notes.read(INDEX, &spec(5), clock).is_some());
    assert!(notes.read(INDEX, &spec(6), clock).is_none(), "it is another call's");
    assert_eq!(notes.carried(INDEX).unwrap().volume().since(flow::counters::Volume(0)), (1, 100));
    drop(notes);
    let notes = open(&path, "two");
    assert!(notes.read(INDEX, &spec(5), clock).is_none());
    assert_eq!(notes.carried(INDEX).unwrap().volume().since(flow::counters::Volume(0)), (0, 0));
    notes.clear(INDEX);
}

#[test]
fn a_file_of_anything_else_is_overwritten_and_one_that_cannot_be_had_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    std::fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
    assert!(open(&path, "one").read(INDEX, &spec(0), Clock::now()).is_none());
    assert!(Notes::open(&folder.path().join("none/notes"), SLOTS, ["one", "maps"], &PORTS).is_err());
}

#[test]
fn whoever_comes_back_after_one_with_other_maps_knows_that_it_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes");
    for (maps, are_of_maps) in
        [("v8-one", false), ("v8-one", true), ("v9-other", false), ("v8-one", false), ("v8-one", true)]
    {
        assert_eq!(Notes::open(&path, SLOTS, ["one", maps], &PORTS).unwrap().are_of_maps(), are_of_maps);
    }
    let other_ports = Notes::open(&path, SLOTS, ["one", "v8-one"], &[(20000, 50000)]).unwrap();
    assert!(other_ports.are_of_maps(), "ports are no matter");
}
