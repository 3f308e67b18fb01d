//! What a party remembers of its call (RFC 3261 section 12), and the requests that follow from it.

use super::message::{Message, ending, uri};

/// One party's side of a call.
#[derive(Clone, Debug, Default)]
pub(super) struct Dialog {
    /// Its Call-ID.
    pub call_id: String,
    /// The party, with its tag: `From` of its requests, `To` of its responses.
    pub local: String,
    /// The other party, with that one's tag as soon as it has one.
    pub remote: String,
    /// Where requests go to: what was dialled, later the other party's contact.
    pub target: String,
    /// The proxies on the way, in the order in which the party's requests pass them.
    pub routes: Vec<String>,
    /// The number of the party's last request.
    pub sequence: u32,
    /// The call has been accepted. Its tags and its route stay from now on.
    pub is_confirmed: bool,
}

impl Dialog {
    /// A call that the party is about to make.
    pub(super) fn begin(call_id: String, local: String, target: String) -> Self {
        Self { call_id, local, remote: format!("<{target}>"), target, ..Self::default() }
    }

    /// A call that the party is invited to.
    pub(super) fn invited(invite: &Message, tag: &str) -> Self {
        Self {
            call_id: invite.header("Call-ID").to_owned(),
            local: format!("{};tag={tag}", invite.header("To")),
            remote: invite.header("From").to_owned(),
            target: uri(invite.header("Contact")).to_owned(),
            routes: invite.all("Record-Route").map(str::to_owned).collect(),
            sequence: 0,
            is_confirmed: true,
        }
    }

    /// Takes in a response to the party's INVITE. Until the call is accepted, whoever responded last is whom it talks with.
    pub(super) fn follow(&mut self, response: &Message) {
        if !self.is_confirmed {
            self.remote = response.header("To").to_owned();
            self.routes = response.all("Record-Route").map(str::to_owned).collect();
            self.routes.reverse();
        }
        self.retarget(response);
    }

    /// Takes in where the other party says that it is.
    pub(super) fn retarget(&mut self, message: &Message) {
        let contact = uri(message.header("Contact"));
        if !contact.is_empty() {
            self.target = contact.to_owned();
        }
    }

    /// The text of a request.
    pub(super) fn request(&self, method: &str, via: &str, more: &str, body: &str) -> String {
        let routes: String = self.routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
        let Self { call_id, local, remote, target, sequence, .. } = self;
        format!(
            "{method} {target} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\n{routes}From: {local}\r\nTo: {remote}\r\n\
             Call-ID: {call_id}\r\nCSeq: {sequence} {method}\r\n{more}{}",
            ending(body)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(tag: &str, contact: &str) -> Message {
        let text = format!(
            "SIP/2.0 200 OK\r\nRecord-Route: <sip:2;lr>\r\nRecord-Route: <sip:1;lr>\r\nTo: <sip:b@c>;tag={tag}\r\n\
             CSeq: 1 INVITE\r\nContact: <sip:{contact}>\r\n\r\n"
        );
        Message::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_caller_goes_the_way_back_and_keeps_to_it() {
        let mut dialog = Dialog::begin("id".to_owned(), "<sip:a@b>;tag=l".to_owned(), "sip:b@c".to_owned());
        dialog.follow(&response("early", "x"));
        dialog.follow(&response("final", "y"));
        dialog.is_confirmed = true;
        dialog.follow(&response("other", "z"));
        dialog.sequence = 2;
        let bye = Message::parse(dialog.request("BYE", "SIP/2.0/UDP a", "", "").as_bytes()).unwrap();
        assert_eq!((bye.first_line(), bye.status()), ("BYE sip:z SIP/2.0", None));
        assert!(bye.all("Route").eq(["<sip:1;lr>", "<sip:2;lr>"]));
        assert_eq!((bye.header("To"), bye.sequence()), ("<sip:b@c>;tag=final", Some(2)));
        assert!(bye.has_to_tag());
    }

    #[test]
    fn a_callee_goes_the_way_that_the_invite_came() {
        let text = "INVITE sip:b@c SIP/2.0\r\nRecord-Route: <sip:2;lr>\r\nRecord-Route: <sip:1;lr>\r\n\
                    From: <sip:a@b>;tag=r\r\nTo: <sip:b@c>\r\nCall-ID: id\r\nCSeq: 1 INVITE\r\n\
                    Contact: <sip:a@d>\r\n\r\n";
        let dialog = Dialog::invited(&Message::parse(text.as_bytes()).unwrap(), "l");
        let bye = Message::parse(dialog.request("BYE", "SIP/2.0/UDP a", "", "").as_bytes()).unwrap();
        assert_eq!((bye.first_line(), bye.header("Call-ID")), ("BYE sip:a@d SIP/2.0", "id"));
        assert!(bye.all("Route").eq(["<sip:2;lr>", "<sip:1;lr>"]));
        assert_eq!((bye.header("From"), bye.header("To")), ("<sip:b@c>;tag=l", "<sip:a@b>;tag=r"));
    }
}
