use super::*;

const BOOT: &str = "boot-1";

fn log(folder: &Path) -> Log {
    Log::new(folder, Heading { boot: BOOT.to_owned(), mark: "mark".to_owned() })
}

fn call<'a>(call_id: &'a str, record: &'a str) -> Entry<'a> {
    Entry::Call { call_id: call_id.as_bytes(), record: record.as_bytes() }
}

fn append(log: &mut Log, entries: &[Entry<'_>]) {
    log.append(&mut entries.iter().copied()).unwrap();
}

/// The calls that are found, as whoever comes next understands it.
fn calls(folder: &Path) -> Vec<String> {
    let mut calls = Vec::new();
    find(folder, BOOT).each(|entry| match entry {
        Entry::Call { call_id, record } => {
            calls.push(format!("{}={}", call_id.escape_ascii(), record.escape_ascii()));
        }
        Entry::Ended { call_id } => calls.push(format!("{} ended", call_id.escape_ascii())),
        Entry::Reply { cookie, .. } => calls.push(format!("{} answered", cookie.escape_ascii())),
    });
    calls
}

fn files(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<_> = files.collect();
    files.sort();
    files
}

#[test]
fn the_next_one_finds_what_was_appended_and_goes_on_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = log(folder.path());
    first.begin_chapter().unwrap();
    append(&mut first, &[call("a", "1"), call("b", "1")]);
    append(&mut first, &[Entry::Ended { call_id: b"a" }]);
    assert!(find(folder.path(), BOOT).is_whole);
    drop(first);
    assert_eq!(calls(folder.path()), ["a=1", "b=1", "a ended"]);
    assert_eq!(find(folder.path(), BOOT).mark.as_deref(), Some("mark"));
    let mut second = log(folder.path());
    second.begin_chapter().unwrap();
    append(&mut second, &[call("b", "2")]);
    assert_eq!(calls(folder.path()), ["a=1", "b=1", "a ended", "b=2"], "in the order of the chapters");
    second.forget_earlier(0).unwrap();
    assert_eq!((calls(folder.path()), files(folder.path())), (vec!["b=2".to_owned()], vec!["journal.2".to_owned()]));
    second.end().unwrap();
    assert!(files(folder.path()).is_empty());
}

#[test]
fn chapters_are_read_in_the_order_of_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = log(folder.path());
    let names: Vec<String> = (0..12).map(|number| number.to_string()).collect();
    for name in &names {
        log.begin_chapter().unwrap();
        append(&mut log, &[call(name, "")]);
    }
    let expected: Vec<_> = names.iter().map(|name| format!("{name}=")).collect();
    assert_eq!(calls(folder.path()), expected);
}

#[test]
fn without_a_chapter_nothing_is_on_record() {
    let folder = tempfile::tempdir().unwrap();
    assert!(log(folder.path()).append(&mut [call("a", "1")].into_iter()).is_err());
    assert!(log(&folder.path().join("none")).begin_chapter().is_err());
    assert_eq!(calls(&folder.path().join("none")), [""; 0]);
    assert!(!find(&folder.path().join("none"), BOOT).is_whole, "what there was may be lost");
}

#[test]
fn an_entry_that_was_never_finished_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = log(folder.path());
    log.begin_chapter().unwrap();
    append(&mut log, &[call("a", "1"), call("b", "1")]);
    let path = folder.path().join("journal.1");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert!(!find(folder.path(), BOOT).is_whole, "or it was cut");
    assert_eq!((calls(folder.path()), files(folder.path())), (vec!["a=1".to_owned()], vec!["journal.1".to_owned()]));
}

#[test]
fn a_damaged_file_is_set_aside_and_what_is_whole_in_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = log(folder.path());
    log.begin_chapter().unwrap();
    append(&mut log, &[call("a", "1"), call("b", "1"), call("c", "1")]);
    let path = folder.path().join("journal.1");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 16;
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(calls(folder.path()), ["a=1", "c=1"]);
    assert!(!find(folder.path(), BOOT).is_whole);
    assert_eq!(files(folder.path()), ["journal.1", "set-aside.1"], "nobody else has what is readable of it");
    assert_eq!(calls(folder.path()), ["a=1", "c=1"], "and so it can be read once more");
    let mut next = self::log(folder.path());
    next.begin_chapter().unwrap();
    next.forget_earlier(0).unwrap();
    assert_eq!(files(folder.path()), ["journal.2", "set-aside.1"]);
}

#[test]
fn what_another_build_has_written_is_set_aside_and_a_few_of_them_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    for (number, text) in
        ["", "x", "intertrunk journal 2\nboot-1\nmark\n", "intertrunk journal 1\nboot-1", "\0", "y"].iter().enumerate()
    {
        fs::write(folder.path().join(format!("journal.{number}")), text).unwrap();
    }
    assert_eq!(calls(folder.path()), [""; 0]);
    let mut next = log(folder.path());
    next.begin_chapter().unwrap();
    next.forget_earlier(0).unwrap();
    assert_eq!(files(folder.path()), ["journal.6", "set-aside.2", "set-aside.3", "set-aside.4", "set-aside.5"]);
}

#[test]
fn names_that_are_none_of_ours_keep_nobody_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(format!("journal.{}", u64::MAX)), "x").unwrap();
    fs::create_dir_all(folder.path().join("journal.7/full")).unwrap();
    assert_eq!(calls(folder.path()), [""; 0]);
    assert!(!folder.path().join("journal.7").exists() && folder.path().join("set-aside.7").exists());
    let mut next = log(folder.path());
    next.begin_chapter().unwrap();
    append(&mut next, &[call("a", "1")]);
    assert_eq!(calls(folder.path()), ["a=1"]);
    assert!(find(folder.path(), BOOT).is_whole);
}

#[test]
fn what_was_before_the_host_was_booted_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = log(folder.path());
    log.begin_chapter().unwrap();
    append(&mut log, &[call("a", "1")]);
    let mut is_found = false;
    let found = find(folder.path(), "boot-2");
    found.each(|_| is_found = true);
    assert_eq!((is_found, found.mark, files(folder.path()).len()), (false, None, 0));
}
