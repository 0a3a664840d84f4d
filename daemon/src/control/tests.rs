//! The server over a gateway that is only pretended, driven by our client and by the real `swanctl`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cygnet_ike::config::Connection;
use cygnet_ike::event::{Failure, FailureCause};
use cygnet_ike::message::IkeSpi;
use cygnet_ike::status::{ChildState, ChildStatus, IkeAlgorithms, IkeState, IkeStatus, NatStatus};
use cygnet_ike::{ChildId, Command, DownReason, IkeSaId};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::client::{CallError, Client};
use super::vici::{Message, Packet, read_frame, write_frame};
use super::{bind, serve};
use crate::config::{self, Config, PolicyNames};
use crate::handle::{Handle, Notice, Request, Status, Traffic};
use crate::reload::Keeper;

const CONFIG: &str = r#"
secrets.b.psk = "a long enough secret"
[connections.site-b]
local_addrs = "192.0.2.1"
remote_addrs = "192.0.2.2"
children.net = { local_ts = "10.1.0.0/16", remote_ts = "10.2.0.0/16", start_action = "trap" }
children.bad = { local_ts = "10.3.0.0/16", remote_ts = "10.4.0.0/16", start_action = "trap" }
children.silent = { local_ts = "10.5.0.0/16", remote_ts = "10.6.0.0/16", start_action = "trap" }
[policies.never]
action = "discard"
remote_ts = "10.7.0.0/16"
"#;

/// A gateway whose negotiations succeed at once, fail (`bad`) or never end (`silent`).
struct Pretended {
    handle: Handle,
    config: Arc<Config>,
    sas: Vec<IkeStatus>,
    next: u64,
}

impl Pretended {
    async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        while let Some(request) = requests.recv().await {
            match request {
                Request::Status(reply) => drop(reply.send(self.status())),
                Request::Command(command) => self.command(command),
                Request::TakeOver(_, reply) => drop(reply.send(())),
                Request::Shutdown(reply) => {
                    self.handle.notify(Notice::Stopping);
                    let _ = reply.send(());
                    return;
                }
            }
        }
    }

    fn status(&self) -> Status {
        let traffic = Traffic { packets_in: 7, octets_in: 700, ..Traffic::default() };
        let children = self.sas.iter().flat_map(|ike| &ike.children);
        Status {
            started: SystemTime::now(),
            ike_sas: self.sas.clone(),
            traffic: children.map(|child| (child.id, traffic)).collect(),
            packets: vec![("outbound.sealed", 9)],
            tun: "cygnet0".to_owned(),
            offloads: Vec::new(),
        }
    }

    fn command(&mut self, command: Command) {
        let connection = self.config.ike.connections[0].clone();
        match command {
            Command::Initiate { child: Some(child), .. } if child == "bad" => {
                self.handle.notify(Notice::Failed(failure(&connection)));
            }
            Command::Initiate { child: Some(child), .. } if child == "silent" => {}
            Command::Initiate { .. } => {
                let (ike, child) = (self.next, self.next + 1);
                self.next += 2;
                let ike = up(&connection, ike, child);
                self.handle.notify(Notice::IkeUp(Box::new(ike.clone())));
                self.handle.notify(Notice::ChildUp { child: ChildId(child), ike: Box::new(ike.clone()) });
                self.sas.push(ike);
            }
            Command::RekeyChild(old) => {
                let Some(ike) = self.sas.iter_mut().find(|ike| ike.children[0].id == old) else { return };
                let new = ChildId(self.next);
                self.next += 1;
                ike.children[0].id = new;
                self.handle.notify(Notice::ChildRekeyed { old, new, ike: Box::new(ike.clone()) });
            }
            Command::DeleteIke(id) => {
                let Some(at) = self.sas.iter().position(|ike| ike.id == id) else { return };
                let last = Box::new(self.sas.remove(at));
                let connection = connection.name.clone();
                self.handle.notify(Notice::ChildDown {
                    child: last.children[0].id,
                    ike: id,
                    connection: connection.clone(),
                    name: "net".to_owned(),
                    reason: DownReason::Command,
                    last: Some(last.clone()),
                    traffic: Traffic::default(),
                });
                let (connection, reason) = (Some(connection), DownReason::Command);
                self.handle.notify(Notice::IkeDown { ike: id, connection, reason, last: Some(last) });
            }
            _ => {}
        }
    }
}

fn failure(connection: &Connection) -> Failure {
    Failure {
        connection: Some(connection.name.clone()),
        child: Some("bad".to_owned()),
        ike: None,
        path: path(),
        cause: FailureCause::NoProposal,
        offered: "aes128gcm16".to_owned(),
        wanted: "aes256gcm16".to_owned(),
        remedy: "add aes256gcm16 to esp_proposals".to_owned(),
        by_stranger: false,
        repeated: false,
    }
}

fn path() -> cygnet_ike::Path {
    let (local, remote) = ("192.0.2.1:4500".parse().unwrap(), "192.0.2.2:4500".parse().unwrap());
    cygnet_ike::Path { local, remote, marker: true }
}

fn up(connection: &Arc<Connection>, ike: u64, child: u64) -> IkeStatus {
    let encr = cygnet_esp::ENCR.iter().find(|row| row.name == "aes256gcm16").unwrap();
    let template = connection.children.iter().find(|child| child.name == "net").unwrap().clone();
    let later = Instant::now() + Duration::from_secs(3000);
    IkeStatus {
        id: IkeSaId(ike),
        connection: Some(connection.clone()),
        state: IkeState::Established,
        initiator: true,
        spi_i: IkeSpi(0x0011_2233_4455_6677),
        spi_r: IkeSpi(0x8899_aabb_ccdd_eeff),
        path: path(),
        local_id: Some(connection.local.id.clone()),
        remote_id: connection.peer.id.exact().cloned(),
        algorithms: Some(IkeAlgorithms { encr, prf: 6, group: 31 }),
        established: Some(Instant::now()),
        rekey_at: Some(later),
        expires_at: Some(later),
        nat: NatStatus::default(),
        active_task: None,
        queued_tasks: Vec::new(),
        children: vec![ChildStatus {
            mode: cygnet_spd::Mode::Tunnel,
            resource: Some(cygnet_ike::Resource { group: ChildId(child), number: Some(3) }),
            id: ChildId(child),
            state: ChildState::Installed,
            spi_in: cygnet_esp::Spi(0xc000_0001),
            spi_out: cygnet_esp::Spi(0xc000_0002),
            encr,
            group: None,
            esn: true,
            udp_encapsulation: true,
            local_ts: template.local_ts.clone(),
            remote_ts: template.remote_ts.clone(),
            installed: Instant::now(),
            rekey_at: Some(later),
            expires_at: Some(later),
            child: template,
        }],
    }
}

/// A running server.
struct Daemon {
    socket: PathBuf,
    handle: Handle,
    _keeper: oneshot::Sender<()>,
}

impl Daemon {
    fn start(name: &str) -> Self {
        let socket = std::env::temp_dir().join(format!("cygnet-control-{name}-{}/vici.sock", std::process::id()));
        let listener = bind(&socket, 0o660).unwrap();
        let file = socket.with_file_name("cygnet.toml");
        std::fs::write(&file, CONFIG).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = Arc::new(config::load(&file).unwrap());
        let (handle, inbox) = Handle::new((*config).clone(), std::sync::Weak::new(), None);
        let gateway = Pretended { handle: handle.clone(), config: config.clone(), sas: Vec::new(), next: 1 };
        tokio::spawn(gateway.run(inbox.requests));
        tokio::spawn(serve(listener, handle.clone()));
        let (keeper, stop) = oneshot::channel();
        tokio::spawn(Keeper::new(handle.clone(), PolicyNames::new(), None).run(inbox.reloads, stop));
        Self { socket, handle, _keeper: keeper }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.socket).await.unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.socket.parent().unwrap());
    }
}

async fn call(client: &mut Client, command: &str, arguments: Message) -> (Result<Message, String>, Vec<Message>) {
    let mut events = Vec::new();
    let answer = client.call(command, arguments, |_, event| events.push(event)).await;
    (answer.map_err(|error| error.to_string()), events)
}

fn child(name: &str) -> Message {
    Message::new().with("child", name)
}

#[tokio::test]
async fn a_reload_takes_over_all_or_nothing() {
    let daemon = Daemon::start("reload");
    let mut client = daemon.client().await;
    let file = daemon.socket.with_file_name("cygnet.toml");
    let mut reload = async |text: &str, command: &str| {
        std::fs::write(&file, text).unwrap();
        call(&mut client, command, Message::new()).await.0
    };
    let names = || daemon.handle.config().policies.iter().map(|policy| policy.name.clone()).collect::<Vec<_>>();

    let report = reload(&CONFIG.replace("10.2.0.0", "10.2.0.1"), "reload").await.unwrap_err();
    for wanted in ["`10.2.0.1/16` can't be used", "cygnet.toml:6:", "the network is 10.2.0.0/16"] {
        assert!(report.contains(wanted), "{wanted} is not in {report}");
    }
    let report = reload(&format!("{CONFIG}\n[gateway]\ntun = \"other\"\nworkers = 3\n"), "reload").await.unwrap_err();
    assert!(report.contains("`gateway.tun`, `gateway.workers` can't change"), "{report}");
    assert_eq!(names(), ["never", "site-b/net", "site-b/bad", "site-b/silent"], "nothing changed");

    let shorter = CONFIG.replace("children.bad", "# children.bad");
    reload(&shorter, "reload-settings").await.unwrap();
    assert_eq!(names(), ["never", "site-b/net", "site-b/silent"]);
    let action = |name| daemon.handle.config().policies.iter().find(|policy| policy.name == name).unwrap().action;
    let silent = action("site-b/silent");
    assert!(reload(CONFIG, "reload").await.unwrap().list("warnings").is_empty());
    assert_eq!(action("site-b/silent"), silent, "a name keeps its id");
}

#[tokio::test]
async fn policies_are_listed_and_explained() {
    let daemon = Daemon::start("policies");
    let mut client = daemon.client().await;
    for event in ["list-policy", "list-spd", "list-sad", "policy-readiness"] {
        client.register(event).await.unwrap();
    }
    let all = Message::new().with("trap", "yes").with("drop", "yes").with("pass", "yes");
    let (_, policies) = call(&mut client, "list-policies", all).await;
    assert_eq!(policies.len(), 4);
    let trap = policies[1].section("site-b/net").unwrap();
    assert_eq!(
        (trap.text("child"), trap.text("ike"), trap.text("mode")),
        (Some("net"), Some("site-b"), Some("TUNNEL"))
    );
    assert_eq!(trap.list("remote-ts"), ["10.2.0.0/16"]);
    let (_, dropped) = call(&mut client, "list-policies", Message::new().with("drop", "yes")).await;
    assert_eq!(dropped[0].section("never").unwrap().text("mode"), Some("DROP"));

    let (_, spd) = call(&mut client, "list-spd", Message::new()).await;
    let first = spd[0].section("never").unwrap();
    assert_eq!(
        (first.text("position"), first.text("action"), first.text("place")),
        (Some("1"), Some("discard"), Some("cygnet.toml line 9"))
    );
    let protect = spd[1].section("site-b/net").unwrap();
    let level = ["level-in", "level-out", "while-negotiating", "after-failure"].map(|key| protect.text(key).unwrap());
    assert_eq!(level, ["require", "require", "hold", "drop"]);
    assert!(call(&mut client, "list-sad", Message::new()).await.1.is_empty());

    let ask = |words: [&str; 2]| Message::new().with_list("flow", words);
    let (answer, _) = call(&mut client, "explain-flow", ask(["10.1.0.1", "10.2.0.1"])).await;
    let answer = answer.unwrap();
    assert_eq!((answer.text("name"), answer.text("outbound")), (Some("site-b/net"), Some("held")));
    assert!(answer.text("policy").unwrap().starts_with("site-b/net (cygnet.toml line 6)"));
    let (refused, _) = call(&mut client, "explain-flow", ask(["10.1.0.1", "host"])).await;
    assert!(refused.unwrap_err().contains("not an IP address"));

    daemon.handle.notify(Notice::Failed(failure(&daemon.handle.config().ike.connections[0])));
    let (_, rows) = call(&mut client, "policy-readiness", Message::new()).await;
    let reason = |name: &str| rows.iter().find_map(|row| row.section(name)).unwrap().text("reason").unwrap().to_owned();
    assert!(reason("site-b/bad").contains("`require` already"), "{}", reason("site-b/bad"));
    let (answer, _) = call(&mut client, "explain-flow", ask(["10.3.0.1", "10.4.0.1"])).await;
    let answer = answer.unwrap();
    assert!(answer.text("sa").unwrap().contains("failed 0s ago: no common proposal"), "{answer:?}");
    assert_eq!(answer.text("outbound"), Some("held"), "nobody waits for the next attempt: the packet sets it off");
}

#[tokio::test]
async fn an_sa_lives_from_initiate_to_terminate() {
    let daemon = Daemon::start("life");
    let mut client = daemon.client().await;
    for event in ["list-sa", "list-conn", "control-log"] {
        client.register(event).await.unwrap();
    }
    let (answer, lines) = call(&mut client, "initiate", child("net")).await;
    assert!(answer.unwrap().flag("success"));
    let lines: Vec<&str> = lines.iter().filter_map(|line| line.text("msg")).collect();
    assert!(lines.iter().any(|line| line.starts_with("IKE_SA site-b[1] established between 192.0.2.1[192.0.2.1]")));
    assert!(lines.iter().any(|line| line.contains("CHILD_SA net{2} established with SPIs c0000001_i c0000002_o")));

    let (answer, sas) = call(&mut client, "list-sas", Message::new()).await;
    assert_eq!(answer.unwrap(), Message::new());
    let ike = sas[0].section("site-b").unwrap();
    assert_eq!((ike.text("state"), ike.text("encr-alg")), (Some("ESTABLISHED"), Some("AES_GCM_16")));
    assert_eq!((ike.text("prf-alg"), ike.text("dh-group")), (Some("PRF_HMAC_SHA2_384"), Some("CURVE_25519")));
    let net = ike.section("child-sas").unwrap().section("net-2").unwrap();
    assert_eq!((net.text("spi-in"), net.text("bytes-in")), (Some("c0000001"), Some("700")));
    assert_eq!((net.text("per-cpu-sas"), net.text("cpu")), (Some("yes"), Some("3")));
    assert_eq!(net.list("remote-ts"), ["10.2.0.0/16"]);
    let (_, none) = call(&mut client, "list-sas", Message::new().with("ike", "other")).await;
    assert!(none.is_empty());

    let (again, _) = call(&mut client, "initiate", child("net")).await;
    assert!(again.is_ok(), "what is up is up");
    let (answer, _) = call(&mut client, "rekey", child("net")).await;
    assert_eq!(answer.unwrap().text("matches"), Some("1"));
    let (answer, _) = call(&mut client, "terminate", Message::new().with("ike", "site-b")).await;
    let answer = answer.unwrap();
    assert_eq!((answer.text("matches"), answer.text("terminated")), (Some("1"), Some("1")));
    let (answer, _) = call(&mut client, "terminate", Message::new().with("ike", "site-b")).await;
    assert_eq!(answer.unwrap_err(), "no matching SAs to terminate found");

    let (_, connections) = call(&mut client, "list-conns", Message::new()).await;
    let connection = connections[0].section("site-b").unwrap();
    assert_eq!(connection.section("local-1").unwrap().text("class"), Some("pre-shared key"));
    assert_eq!(connection.section("children").unwrap().sections().count(), 3);
}

#[tokio::test]
async fn failures_carry_strongswans_words_and_our_reason() {
    let daemon = Daemon::start("failures");
    let mut client = daemon.client().await;
    let initiate = |arguments| ("initiate", arguments);
    for ((command, arguments), wanted) in [
        (initiate(child("absent")), "CHILD_SA config 'absent' not found"),
        (initiate(Message::new().with("ike", "absent")), "IKE_SA config 'absent' not found"),
        (initiate(Message::new()), "missing configuration name"),
        (initiate(child("bad")), "establishing CHILD_SA 'bad' failed: no common proposal"),
        (initiate(child("silent").with("timeout", 20)), "CHILD_SA 'silent' not established after 20ms"),
        (("terminate", Message::new()), "missing terminate selector"),
        (("rekey", child("net")), "no matching SAs to rekey found"),
    ] {
        let (answer, _) = call(&mut client, command, arguments).await;
        let error = answer.unwrap_err();
        assert!(error.starts_with(wanted), "{error}");
    }
    let (answer, _) = call(&mut client, "initiate", child("bad")).await;
    let error = answer.unwrap_err();
    assert!(error.contains("offered: aes128gcm16; wanted: aes256gcm16; to do: add aes256gcm16"), "{error}");
    let unknown = client.call("load-conn", Message::new(), |_, _| {}).await;
    assert!(matches!(unknown, Err(CallError::UnknownCommand(_))));
    assert!(matches!(client.register("no-event").await, Err(CallError::UnknownEvent(_))));
}

#[tokio::test]
async fn subscribers_hear_what_happens() {
    let daemon = Daemon::start("events");
    let (mut listener, mut actor) = (daemon.client().await, daemon.client().await);
    for event in ["log", "ike-updown", "child-updown", "child-rekey"] {
        listener.register(event).await.unwrap();
    }
    call(&mut actor, "initiate", child("net")).await.0.unwrap();
    call(&mut actor, "rekey", child("net")).await.0.unwrap();
    call(&mut actor, "terminate", Message::new().with("ike", "site-b")).await.0.unwrap();
    let mut heard = Vec::new();
    while heard.len() < 5 {
        let (name, event) = listener.event().await.unwrap();
        if name == "log" {
            assert!(event.text("msg").is_some() && event.text("group") == Some("IKE"));
            continue;
        }
        let ike = event.section("site-b").unwrap();
        if name == "child-rekey" {
            let pair = ike.section("child-sas").unwrap().section("net").unwrap();
            assert_eq!(pair.section("old").unwrap().text("uniqueid"), Some("2"));
            assert_eq!(pair.section("new").unwrap().text("uniqueid"), Some("3"));
        }
        heard.push((name, event.text("up").map(str::to_owned)));
    }
    let heard: Vec<_> = heard.iter().map(|(name, up)| (name.as_str(), up.as_deref())).collect();
    assert_eq!(
        heard,
        [
            ("ike-updown", Some("yes")),
            ("child-updown", Some("yes")),
            ("child-rekey", None),
            ("child-updown", None),
            ("ike-updown", None),
        ]
    );
}

#[tokio::test]
async fn a_slow_subscriber_is_dropped_and_holds_nobody_up() {
    let daemon = Daemon::start("slow");
    let mut slow = UnixStream::connect(&daemon.socket).await.unwrap();
    write_frame(&mut slow, &Packet::Register("log".to_owned()).encode().unwrap()).await.unwrap();
    assert!(read_frame(&mut slow).await.unwrap().is_some(), "registered");
    let mut quick = daemon.client().await;
    let connection = &config::parse(CONFIG, "test.toml", Path::new("/nowhere")).unwrap().ike.connections[0];
    // Far more than the socket's buffers and the queue hold.
    for _ in 0..400 {
        for _ in 0..50 {
            daemon.handle.notify(Notice::Failed(failure(connection)));
        }
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(Duration::from_secs(20), call(&mut quick, "version", Message::new()))
        .await
        .unwrap()
        .0
        .unwrap();
    let drained = tokio::time::timeout(Duration::from_secs(20), slow.read_to_end(&mut Vec::new())).await;
    assert!(drained.is_ok(), "the daemon closed the connection");
}

#[tokio::test]
async fn garbage_ends_the_connection_and_nothing_else() {
    let daemon = Daemon::start("garbage");
    for octets in [&b"\xff\xff\xff\xff"[..], b"\x00\x00\x00\x01\x09", b"\x00\x00\x00\x01\x02", b"\x00\x00\x00\x00"] {
        let mut stream = UnixStream::connect(&daemon.socket).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, octets).await.unwrap();
        let closed = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut Vec::new())).await;
        assert!(closed.is_ok(), "{octets:?}");
    }
    call(&mut daemon.client().await, "stats", Message::new()).await.0.unwrap();
}

#[tokio::test]
async fn a_stopping_gateway_says_so_to_waiting_commands() {
    let daemon = Daemon::start("stopping");
    let mut client = daemon.client().await;
    let handle = daemon.handle.clone();
    let (answer, ()) = tokio::join!(call(&mut client, "initiate", child("silent")), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        handle.shutdown().await;
    });
    assert!(answer.0.unwrap_err().contains("the gateway is stopping"));
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    use std::os::unix::fs::PermissionsExt;
    let directory = std::env::temp_dir().join(format!("cygnet-control-stale-{}", std::process::id()));
    let path = directory.join("deeper/vici.sock");
    let first = bind(&path, 0o660).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    assert_eq!(bind(&path, 0o660).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
    drop(first);
    drop(bind(&path, 0o600).unwrap());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "precious").unwrap();
    assert!(bind(&path, 0o660).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    std::fs::remove_dir_all(directory).unwrap();
}

/// strongSwan's own `swanctl`, unchanged, against our socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_swanctl_drives_us() {
    const SWANCTL: &str = "/usr/sbin/swanctl";
    if !Path::new(SWANCTL).exists() {
        assert!(std::env::var_os("CI").is_none(), "{SWANCTL} is not there, and in CI nothing is skipped");
        eprintln!("NOT RUN: {SWANCTL} is not there (Debian: strongswan-swanctl), so only our own client was tried");
        return;
    }
    let daemon = Daemon::start("swanctl");
    let uri = format!("unix://{}", daemon.socket.display());
    let swanctl = async |arguments: &'static [&'static str]| {
        let uri = uri.clone();
        let run = move || Process::new(SWANCTL).args(arguments).args(["--uri", &uri]).output().unwrap();
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), text)
    };
    for (arguments, succeeds, wanted) in [
        (&["--version", "--daemon"][..], true, &["cygnet"][..]),
        (&["--stats"], true, &["uptime: ", "IKE_SAs: 0 total, 0 half-open"]),
        (&["--list-conns"], true, &["site-b: IKEv2", "local pre-shared key authentication", "remote: 10.2.0.0/16"]),
        (
            &["--list-pols"],
            true,
            &["site-b/net, TUNNEL", "local:  10.1.0.0/16", "remote: 10.2.0.0/16", "never, DROP", "remote: 10.7.0.0/16"],
        ),
        (&["--reload-settings"], true, &[]),
        (&["--initiate", "--child", "net"], true, &["initiate completed successfully", "CHILD_SA net{2} established"]),
        (
            &["--list-sas"],
            true,
            &[
                "site-b: #1, ESTABLISHED, IKEv2, 0011223344556677_i* 8899aabbccddeeff_r",
                "local  '192.0.2.1' @ 192.0.2.1[4500]",
                "AES_GCM_16-256/PRF_HMAC_SHA2_384/CURVE_25519",
                "net: #2, reqid 1, INSTALLED, TUNNEL-in-UDP, ESP:AES_GCM_16-256/ESN",
                "in  c0000001,    700 bytes,     7 packets",
                "remote 10.2.0.0/16",
            ],
        ),
        (&["--rekey", "--child", "net"], true, &["rekey completed successfully"]),
        (&["--initiate", "--child", "bad"], false, &["establishing CHILD_SA 'bad' failed: no common proposal"]),
        (&["--initiate", "--child", "silent", "--timeout", "1"], false, &["not established after 1000ms"]),
        (&["--terminate", "--ike", "site-b"], true, &["terminate completed successfully"]),
        (&["--terminate", "--ike", "site-b"], false, &["no matching SAs to terminate found"]),
        (&["--list-sas"], true, &[]),
    ] {
        let (success, text) = swanctl(arguments).await;
        assert_eq!(success, succeeds, "{arguments:?}: {text}");
        for part in wanted {
            assert!(text.contains(part), "{arguments:?}: `{part}` is not in\n{text}");
        }
    }
}
