use super::*;

fn options(text: &str) -> Options {
    toml::from_str(text).unwrap()
}

fn error(text: &str) -> String {
    format!("{:#}", options(text).resolve().unwrap_err())
}

const MINIMAL: &str = "interface = [\"pbx/192.0.2.1\"]\n";

#[test]
fn one_interface_is_all_that_must_be_said() {
    let config = options(MINIMAL).resolve().unwrap();
    assert_eq!((config.relay.port_min, config.relay.port_max), (30000, 40000));
    assert_eq!(config.listen_ng.0, [DEFAULT_NG.parse().unwrap()]);
    assert_eq!(config.relay.engine, Engine::Auto);
    assert_eq!(config.calls, call::Settings::default());
    assert_eq!(config.calls.learning, Learning::Heuristic);
}

#[test]
fn every_learning_mode_can_be_the_default() {
    for (word, learning) in [
        ("heuristic", Learning::Heuristic),
        ("immediate", Learning::Immediate),
        ("delayed", Learning::Delayed),
        ("off", Learning::Off),
    ] {
        let config = options(&format!("{MINIMAL}endpoint-learning = \"{word}\"\n")).resolve().unwrap();
        assert_eq!(config.calls.learning, learning);
    }
}

#[test]
fn flags_override_the_file() {
    let merged = options("port-max = 50000\n").or(options(&format!("{MINIMAL}port-max = 45000\ntos = 184\n")));
    let config = merged.resolve().unwrap();
    assert_eq!((config.relay.port_max, config.calls.tos), (50000, Some(184)));
}

#[test]
fn the_example_configuration_is_valid_and_names_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/intertrunk.toml");
    let text = std::fs::read_to_string(path).unwrap();
    options(&text).resolve().unwrap();
    // Every key is there, commented out where the default is meant, and what is commented out is valid too.
    let all: String =
        text.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line)).map(|line| format!("{line}\n")).collect();
    let complete = options(&all);
    assert_eq!(complete.clone().or(Options::default()), complete);
    let debug = format!("{complete:?}");
    assert!(!debug.contains("None"), "{debug}");
}

#[test]
fn an_unknown_key_is_an_error_that_names_it() {
    let error = toml::from_str::<Options>("inteface = []\n").unwrap_err().to_string();
    assert!(error.contains("inteface") && error.contains("line 1"), "{error}");
}

#[test]
fn what_makes_no_sense_is_an_error_with_the_key() {
    assert!(error("").contains("no interface is configured"));
    for (text, key) in [
        ("port-min = 40001", "port-min"),
        ("port-min = 80", "port-min"),
        ("engine = \"dpdk\"", "dpdk"),
        ("xdp-mode = \"fast\"", "xdp-mode"),
        ("workers = 0", "workers"),
        ("max-load = -1.0", "max-load"),
        ("max-cpu = nan", "max-cpu"),
        ("unsupported = \"maybe\"", "unsupported"),
        ("endpoint-learning = \"psychic\"", "endpoint-learning"),
        ("log-format = \"xml\"", "log-format"),
        ("log-level = \"loud\"", "log-level"),
        ("listen-ng = [\"0.0.0.0:2223\"]", "allow-ng"),
        ("listen-http = [\"192.0.2.1:80\"]", "allow-http"),
        ("listen-tcp-ng = [\"[::]:2223\"]", "allow-tcp-ng"),
        ("media-deny = [\"10.0.0.0/33\"]", "media-deny"),
        ("media-allow = [\"pbx\"]", "media-allow"),
        ("listen-ng-unix = \"/tmp/x\"\nunix-mode = \"rw\"", "unix-mode"),
        ("listen-ng-unix = \"/tmp/x\"\nunix-owner = \"nobody-of-that-name\"", "unix-owner"),
    ] {
        let error = error(&format!("{MINIMAL}{text}\n"));
        assert!(error.contains(key), "{text}: {error}");
    }
}

#[test]
fn owners_are_found_by_name_and_by_number() {
    let config =
        options(&format!("{MINIMAL}listen-ng-unix = \"/tmp/x\"\nunix-owner = \"root\"\nunix-group = \"17\"\n"));
    let file = config.resolve().unwrap().listen_ng_unix.unwrap();
    assert_eq!((file.owner, file.group, file.mode), (Some(0), Some(17), 0o660));
}
