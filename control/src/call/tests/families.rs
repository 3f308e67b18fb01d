use relay::Family;

use super::*;

/// A PBX with both families, a gateway with IPv4 and a cloud with IPv6 only.
fn rig() -> Rig {
    let interfaces = ["pbx/192.0.2.1", "pbx/2001:db8::1", "gateway/198.51.100.1", "cloud/2001:db8:c::1"];
    Rig::on(&interfaces, at_once(), 30099)
}

fn towards(interface: &str, family: Option<Family>) -> Options {
    Options {
        from_interface: Some(b"pbx".to_vec()),
        to_interface: Some(interface.into()),
        address_family: family,
        ..Options::default()
    }
}

fn offered(rig: &mut Rig, address: &str, options: Options) -> String {
    rig.sdp(offer_with("a", None, &audio(address, 4000), options)).0
}

#[test]
fn a_call_within_ipv6_stays_there() {
    let mut rig = rig();
    let sdp = offered(&mut rig, "2001:db8::10", towards("cloud", None));
    assert!(sdp.contains("c=IN IP6 2001:db8:c::1\r\n"), "{sdp}");
    let (sdp, _) = rig.sdp(answer("a", "b", &audio("2001:db8:c::10", 5000)));
    assert!(sdp.contains("c=IN IP6 2001:db8::1\r\n"), "{sdp}");
    assert_eq!(rig.peer("[2001:db8::1]:30000").unwrap(), "[2001:db8::10]:4000");
    assert_eq!(rig.peer("[2001:db8:c::1]:30000").unwrap(), "[2001:db8:c::10]:5000");
    rig.end();
}

#[test]
fn an_interface_of_one_family_turns_the_call_to_it() {
    let mut rig = rig();
    let sdp = offered(&mut rig, "192.0.2.10", towards("cloud", None));
    assert!(sdp.contains("c=IN IP6 2001:db8:c::1\r\n"), "{sdp}");
    let (sdp, _) = rig.sdp(answer("a", "b", &audio("2001:db8:c::10", 5000)));
    assert!(sdp.contains("c=IN IP4 192.0.2.1\r\n"), "{sdp}");
    rig.end();
}

#[test]
fn the_proxy_may_ask_for_a_family() {
    let mut rig = rig();
    let sdp = offered(&mut rig, "192.0.2.10", towards("pbx", Some(Family::V6)));
    assert!(sdp.contains("c=IN IP6 2001:db8::1\r\n"), "{sdp}");
}

#[test]
fn internal_and_external_are_ipv4_and_ipv6_where_no_interface_has_their_name() {
    let mut rig = rig();
    let options = Options { from_interface: Some(b"internal".to_vec()), ..towards("external", None) };
    let sdp = offered(&mut rig, "192.0.2.10", options);
    assert!(sdp.contains("c=IN IP6 2001:db8::1\r\n"), "{sdp}");
}

#[test]
fn a_party_in_the_wrong_family_is_refused_and_told_why() {
    let mut rig = rig();
    let options = Options { from_interface: Some(b"gateway".to_vec()), ..towards("pbx", None) };
    let error = rig.error(offer_with("a", None, &audio("2001:db8::10", 4000), options));
    assert_eq!(
        error,
        "Media address 2001:db8::10 is IPv6, but interface \"gateway\" speaks to this party from 198.51.100.1"
    );
    offered(&mut rig, "192.0.2.10", towards("gateway", None));
    let error = rig.error(answer("a", "b", &audio("2001:db8::20", 5000)));
    assert!(error.contains("2001:db8::20 is IPv6"), "{error}");
}

#[test]
fn a_party_that_changes_its_family_gets_an_address_of_the_new_one() {
    let mut rig = rig();
    offered(&mut rig, "192.0.2.10", towards("gateway", None));
    rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    rig.sdp(offer_with("a", Some("b"), &audio("2001:db8::10", 4002), Options::default()));
    let (sdp, _) = rig.sdp(answer("a", "b", &audio("198.51.100.10", 5000)));
    assert!(sdp.contains("c=IN IP6 2001:db8::1\r\n"), "{sdp}");
    assert_eq!(rig.peer("[2001:db8::1]:30000").unwrap(), "[2001:db8::10]:4002");
    rig.end();
}
