use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use border::{Interfaces, NoTraffic, Ports};
use calls::call::Settings;
use calls::ng::{Proxy, Transport};

use super::*;

/// Calls with a journal in a folder.
struct Rig {
    calls: Calls,
    exchange: Exchange,
    journal: Journal,
    folder: tempfile::TempDir,
    now: Instant,
}

fn calls(now: Instant) -> Calls {
    let interfaces = Interfaces::new(vec!["pbx/192.0.2.1".parse().unwrap()]).unwrap();
    let ports = Ports::of(&interfaces, (30000, 39999)).unwrap();
    Calls::new(
        interfaces,
        ports,
        Settings { delete_delay: Duration::ZERO, ..Settings::default() },
        b"mark".to_vec(),
        now,
    )
}

fn heading() -> Heading {
    Heading { boot: "boot".to_owned(), mark: "mark".to_owned() }
}

impl Rig {
    fn new() -> Self {
        let (folder, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let journal = Journal::new(Box::new(Log::new(folder.path(), heading())), now.into(), now);
        Self { calls: calls(now), exchange: Exchange::new(), journal, folder, now }
    }

    fn ask(&mut self, datagram: &str) -> String {
        let (calls, wall) = (&mut self.calls, SystemTime::UNIX_EPOCH);
        let (reply, _) = self
            .exchange
            .datagram(datagram.as_bytes(), Proxy::unix(Transport::Unix), calls, self.now, wall, &NoTraffic)
            .unwrap();
        let answered = self.exchange.take_answered();
        self.journal.record(&mut self.calls, answered.as_ref(), self.now);
        String::from_utf8(reply.to_vec()).unwrap()
    }

    fn offer(&mut self, number: usize) -> String {
        let sdp =
            r"v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";
        self.ask(&format!(
            r#"o{number} {{"command": "offer", "call-id": "c{number}", "from-tag": "a", "sdp": "{sdp}"}}"#
        ))
    }

    fn delete(&mut self, number: usize) -> String {
        self.ask(&format!(r#"d{number} {{"command": "delete", "call-id": "c{number}"}}"#))
    }

    /// The same after the process has been killed.
    fn killed(self) -> Self {
        let Self { folder, now, .. } = self;
        let found = find(folder.path(), "boot");
        let (mut calls, mut exchange) = (calls(now), Exchange::new());
        let restored = restore(&found, &mut calls, &mut exchange, now.into(), now);
        assert_eq!((restored.calls, restored.lost), (calls.len(), 0));
        let mut journal = Journal::new(Box::new(Log::new(folder.path(), heading())), now.into(), now);
        journal.keep(&restored.replies, now);
        journal.complete(&calls, now);
        Self { calls, exchange, journal, folder, now }
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        (0..2000).for_each(|_| self.journal.tick(&self.calls, self.now));
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            (0..self.calls.len()).map(|place| self.calls.at(place).unwrap().escape_ascii().to_string()).collect();
        names.sort();
        names
    }
}

#[test]
fn whoever_comes_next_has_the_calls_and_answers_again_as_was_answered() {
    let mut rig = Rig::new();
    let replies: Vec<String> = (0..3).map(|number| rig.offer(number)).collect();
    rig.delete(1);
    let mut rig = rig.killed();
    assert_eq!(rig.names(), ["c0", "c2"]);
    // It was answered before the call was over, and whoever asks again has not heard it.
    assert_eq!((rig.offer(1), rig.names().len()), (replies[1].clone(), 2));
    assert_eq!(rig.offer(0), replies[0]);
    assert!(rig.delete(0).contains("\"ok\"") && rig.delete(2).contains("\"ok\""));
    let mut rig = rig.killed();
    assert!(rig.names().is_empty());
    rig.now += calls::ng::Cookies::LIFE;
    assert_ne!(rig.offer(1), replies[1], "it is another call by now");
}

#[test]
fn a_chapter_that_has_grown_is_followed_by_another_and_no_call_is_missing_at_any_time() {
    let mut rig = Rig::new();
    for number in 0..100 {
        rig.offer(number);
    }
    rig.journal.whole = 0;
    rig.wait(Duration::from_secs(1));
    let begin = |rig: &mut Rig| rig.journal.begin(rig.now);
    begin(&mut rig);
    let mut ended = VecDeque::from_iter(0..100);
    // While the next one is filled, calls end and others come.
    for step in 0..20 {
        rig.journal.tick(&rig.calls, rig.now);
        let gone = if step % 2 == 0 { ended.pop_front() } else { ended.pop_back() };
        rig.delete(gone.unwrap());
        rig.offer(1000 + step);
        let names = rig.names();
        rig = rig.killed();
        assert_eq!(rig.names(), names);
        rig.journal.tick(&rig.calls, rig.now);
    }
    let names = rig.names();
    rig.wait(REPLIES);
    rig.wait(REPLIES);
    let files = std::fs::read_dir(rig.folder.path()).unwrap().count();
    assert_eq!((files, rig.killed().names()), (1, names));
}

#[test]
fn a_chapter_that_cannot_be_begun_leaves_the_one_before_in_force_and_is_tried_again() {
    let mut rig = Rig::new();
    rig.offer(0);
    rig.wait(Duration::from_secs(1));
    let blocked = rig.folder.path().join(format!("journal.{}", 2));
    std::fs::create_dir(&blocked).unwrap();
    rig.journal.begin(rig.now);
    assert_eq!(rig.journal.chapter, Chapter::Whole);
    rig.offer(1);
    assert!(rig.journal.refused.is_some());
    std::fs::remove_dir(&blocked).unwrap();
    let mut rig = rig.killed();
    assert_eq!(rig.names(), ["c0", "c1"]);
    rig.wait(PAUSE);
    rig.journal.begin(rig.now);
    assert!(rig.journal.refused.is_none());
}

/// Bytes of all chapters.
fn kept(rig: &Rig) -> u64 {
    std::fs::read_dir(rig.folder.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn however_many_calls_come_and_go_replies_are_kept_for_a_while_and_no_longer() {
    let mut rig = Rig::new();
    let mut number = 0;
    // A chapter that ends every second, for half a minute.
    for second in 0..30 {
        for _ in 0..20 {
            rig.offer(number);
            rig.delete(number);
            number += 1;
        }
        rig.now += Duration::from_secs(1);
        rig.journal.tick(&rig.calls, rig.now);
        rig.journal.tick(&rig.calls, rig.now);
        rig.journal.begin(rig.now);
        let chapters = std::fs::read_dir(rig.folder.path()).unwrap().count();
        assert!(chapters <= REPLIES.as_secs() as usize + 3, "{chapters} chapters after {second} s");
    }
    let last = rig.offer(number - 1);
    let mut rig = rig.killed();
    assert_eq!(rig.offer(number - 1), last);
}

#[test]
fn what_ended_while_nothing_could_be_written_is_over_for_the_next_process() {
    let mut rig = Rig::new();
    rig.offer(0);
    rig.offer(1);
    rig.wait(Duration::ZERO);
    let now = rig.now;
    rig.journal.fail(&io::Error::from(io::ErrorKind::StorageFull), now);
    rig.delete(0);
    rig.now += PAUSE;
    rig.wait(Duration::ZERO);
    assert_eq!(rig.killed().names(), ["c1"]);
}

#[test]
fn processes_that_end_one_after_another_leave_no_more_than_one_does() {
    let mut rig = Rig::new();
    let replies: Vec<_> = (0..20).map(|number| rig.offer(number)).collect();
    rig = rig.killed();
    let once = kept(&rig);
    for _ in 0..10 {
        rig = rig.killed();
    }
    assert_eq!((kept(&rig), rig.names().len()), (once, 20));
    assert_eq!(rig.offer(7), replies[7], "it was answered by the first of them");
}

#[test]
fn what_is_kept_for_the_sake_of_replies_has_a_limit() {
    let mut rig = Rig::new();
    rig.offer(0);
    rig.wait(Duration::ZERO);
    for _ in 0..4 {
        rig.journal.earlier.push_back(Earlier { ended: rig.now, bytes: MOST / 2 - 1 });
    }
    rig.journal.tick(&rig.calls, rig.now);
    assert_eq!(rig.journal.earlier.iter().map(|earlier| earlier.bytes).sum::<u64>(), MOST - 2);
    assert!(kept(&rig) > 0);
}

/// A store that can be out of order.
#[derive(Clone, Default)]
struct Moody(Arc<Mutex<(bool, Vec<String>)>>);

impl Moody {
    fn note(&self, what: impl FnOnce() -> String) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if state.0 {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        state.1.push(what());
        Ok(())
    }
}

impl Store for Moody {
    fn append(&mut self, entries: &mut dyn Iterator<Item = Entry<'_>>) -> io::Result<()> {
        let calls: Vec<_> = entries
            .filter_map(|entry| match entry {
                Entry::Call { call_id, .. } => Some(call_id.escape_ascii().to_string()),
                Entry::Ended { .. } | Entry::Reply { .. } => None,
            })
            .collect();
        self.note(|| calls.join(" "))
    }

    fn begin_chapter(&mut self) -> io::Result<()> {
        self.note(|| "chapter".to_owned())
    }

    fn give_up_chapter(&mut self) {
        self.0.lock().unwrap().1.push("give up".to_owned());
    }

    fn forget_earlier(&mut self, _: usize) -> io::Result<()> {
        self.note(|| "forget".to_owned())
    }

    fn size(&self) -> u64 {
        0
    }

    fn end(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn where_nothing_can_be_written_calls_go_on_and_all_are_on_record_as_soon_as_it_can() {
    let store = Moody::default();
    let mut rig = Rig::new();
    rig.journal = Journal::new(Box::new(store.clone()), rig.now.into(), rig.now);
    rig.offer(0);
    store.0.lock().unwrap().0 = true;
    for number in 1..4 {
        assert!(rig.offer(number).contains("\"ok\""));
    }
    rig.wait(PAUSE / 2);
    store.0.lock().unwrap().0 = false;
    rig.offer(4);
    let noted = |store: &Moody| store.0.lock().unwrap().1.clone();
    assert_eq!(noted(&store), ["chapter", "c0"], "not before the pause is over");
    rig.wait(PAUSE);
    assert_eq!(noted(&store)[2..], ["chapter", "c0 c1 c2 c3 c4", "forget"]);
    rig.offer(5);
    assert_eq!(noted(&store).last().unwrap(), "c5");
}

#[test]
fn a_chapter_that_fails_as_the_one_before_it_did_takes_no_room() {
    let store = Moody::default();
    let mut rig = Rig::new();
    rig.journal = Journal::new(Box::new(store.clone()), rig.now.into(), rig.now);
    rig.offer(0);
    let break_down = |is_broken| store.0.lock().unwrap().0 = is_broken;
    let noted = || std::mem::take(&mut store.0.lock().unwrap().1);
    break_down(true);
    rig.offer(1);
    break_down(false);
    noted();
    rig.now += PAUSE;
    rig.journal.tick(&rig.calls, rig.now);
    break_down(true);
    rig.journal.tick(&rig.calls, rig.now);
    assert_eq!(noted(), ["chapter"]);
    break_down(false);
    rig.wait(PAUSE);
    assert_eq!(noted(), ["give up", "chapter", "c0 c1", "forget"]);
}

#[test]
fn a_journal_that_cannot_be_written_any_more_gives_back_what_is_kept_for_replies() {
    let mut rig = Rig::new();
    for number in 0..3 {
        rig.offer(number);
        rig.wait(Duration::ZERO);
        rig.journal.begin(rig.now);
    }
    rig.wait(Duration::ZERO);
    assert!(std::fs::read_dir(rig.folder.path()).unwrap().count() > 1);
    let now = rig.now;
    rig.journal.fail(&io::Error::from(io::ErrorKind::StorageFull), now);
    assert_eq!(std::fs::read_dir(rig.folder.path()).unwrap().count(), 1);
    assert_eq!(rig.killed().names(), ["c0", "c1", "c2"]);
}
