//! Every subject under every load, in turns, several times; what one datagram costs the whole system.

use crate::args::Args;
use crate::cpu::{Snapshot, Usage};
use crate::flow::{FlowKey, Rewrite, PASS_STUN_REQUESTS};
use crate::hardware::Hardware;
use crate::kernel_path::KernelPath;
use crate::load::{self, Direction, FrameLoad, Outcome, Route, Shape, SocketLoad, Source};
use crate::program::Way;
use crate::topology::Topology;
use crate::Result;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const FLOWS: usize = 200;
const RELAY_PORTS: Ports = Ports { edge: 8001, first_inner: 21_000 };
const NATIVE_PORTS: Ports = Ports { edge: 8002, first_inner: 22_000 };
/// A run in which strangers took more of one processor than this is run again, so often at most.
const FOREIGN_SHARE: f64 = 0.1;
const MAX_RUNS: usize = 3;

/// What stands at both ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ends {
    /// Sockets at both ends.
    Sockets,
    /// Frames from a packet socket; a program counts and drops what arrives.
    Frames,
    /// The same, with frames from XDP, in the cases without a rate.
    Xdp,
}

#[derive(Clone, Copy)]
struct Ports {
    edge: u16,
    first_inner: u16,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// No gateway: what the load alone costs.
    Direct,
    Kernel(Way),
    Process,
}

struct Subject {
    name: &'static str,
    kind: Kind,
    route: Route,
}

struct Case {
    name: &'static str,
    rate: u64,
    burst: usize,
    train: usize,
    tick_us: u64,
}

const CASES: [Case; 7] = [
    Case { name: "saturated", rate: 0, burst: 1, train: 1, tick_us: 0 },
    Case { name: "trains of 8, saturated", rate: 0, burst: 1, train: 8, tick_us: 0 },
    // No divisor of the timer's period, or samples of what runs would all fall into work, or all beside it.
    Case { name: "20 kpps", rate: 20_000, burst: 1, train: 1, tick_us: 97 },
    Case { name: "100 kpps", rate: 100_000, burst: 1, train: 1, tick_us: 97 },
    Case { name: "100 kpps, ticks of 1 ms", rate: 100_000, burst: 1, train: 1, tick_us: 997 },
    Case { name: "100 kpps, bursts of 8", rate: 100_000, burst: 8, train: 1, tick_us: 97 },
    Case { name: "100 kpps, trains of 8", rate: 100_000, burst: 1, train: 8, tick_us: 97 },
];

/// One run.
struct Sample {
    outcome: Outcome,
    usage: Usage,
}

pub fn main(args: &Args) -> Result<()> {
    load::exact_sleeps()?;
    let rounds = args.number("rounds", 3)? as usize;
    let run = Duration::from_millis(args.number("milliseconds", 3000)?);
    let patience = Duration::from_secs(args.number("patience", 60)?);
    let only = args.get("only").unwrap_or("");
    let directions = match args.get("direction") {
        Some("down") => vec![Direction::Down],
        Some("up") => vec![Direction::Up],
        _ => vec![Direction::Down, Direction::Up],
    };

    let topology = Topology::new()?;
    let frames = FrameLoad::new(&topology)?;
    let sockets = SocketLoad::new(&topology, FLOWS)?;
    let wanted_ends = args.get("ends").unwrap_or("");
    let ends = [("sockets", Ends::Sockets), ("frames", Ends::Frames), ("xdp", Ends::Xdp)];
    let ends = ends.iter().filter(|(name, _)| name.contains(wanted_ends)).map(|(_, ends)| *ends);
    let path = KernelPath::new()?;
    let mut processes = vec![Process::start(&topology, own_relay(RELAY_PORTS)?)?];
    let mut subjects = vec![
        subject("no gateway", Kind::Direct, Route::direct(FLOWS)),
        subject("relay in Rust", Kind::Process, RELAY_PORTS.route()),
    ];
    // An engine has the same flows as the kernel, for what passes up.
    let mut behind_kernel = RELAY_PORTS;
    if let Some(command) = args.get("native") {
        processes.push(Process::start(&topology, NATIVE_PORTS.command(command.split_whitespace())?)?);
        subjects.push(subject("native engine", Kind::Process, NATIVE_PORTS.route()));
        behind_kernel = NATIVE_PORTS;
    }
    add_flows(&path, &topology, behind_kernel)?;
    for (name, way) in [
        ("kernel", Way::Redirect),
        ("kernel (neighbours)", Way::RedirectNeighbour),
        ("kernel (veth peer)", Way::RedirectPeer),
    ] {
        subjects.push(subject(name, Kind::Kernel(way), behind_kernel.route()));
    }
    let _hardware = match args.get("gro") {
        Some("on") => Some(Hardware::imitate(&topology)?),
        _ => None,
    };
    if let Some(names) = args.get("subjects") {
        let names: Vec<&str> = names.split(',').collect();
        subjects.retain(|subject| names.contains(&subject.name) || subject.kind == Kind::Direct);
    }
    let ours: Vec<u32> = processes.iter().map(|process| process.0.id()).collect();

    let combined = ends.flat_map(|ends| directions.iter().map(move |direction| (ends, *direction)));
    for (ends, direction) in combined {
        let cases = CASES.iter().filter(|case| case.name.contains(only));
        for case in cases.filter(|case| ends != Ends::Xdp || case.rate == 0) {
            let mut samples: Vec<Vec<Sample>> = subjects.iter().map(|_| Vec::new()).collect();
            for round in 0..rounds {
                let (_, idle) = measure(&ours, patience, || {
                    thread::sleep(Duration::from_secs(1));
                    Ok(())
                })?;
                for turn in 0..subjects.len() {
                    // Each round begins with another, so that none always follows the same.
                    let index = (turn + round) % subjects.len();
                    let subject = &subjects[index];
                    let links = match subject.kind {
                        Kind::Kernel(way) => path.attach(&topology, way)?,
                        _ => Vec::new(),
                    };
                    let shape = Shape {
                        direction,
                        size: 1200,
                        rate: case.rate,
                        burst: case.burst,
                        train: case.train,
                        tick: Duration::from_micros(case.tick_us),
                        run,
                    };
                    let (outcome, usage) = measure(&ours, patience, || match ends {
                        Ends::Frames => frames.run(&topology, &subject.route, shape, Source::PacketSocket),
                        Ends::Xdp => frames.run(&topology, &subject.route, shape, Source::Xdp),
                        Ends::Sockets => sockets.run(&subject.route, shape),
                    })?;
                    drop(links);
                    if outcome.wrong > 0 || outcome.delivered == 0 {
                        return Err(format!("{}: {}: {outcome:?}", subject.name, case.name).into());
                    }
                    samples[index].push(Sample { outcome, usage: usage.above(idle) });
                }
            }
            report(ends, direction, case, &subjects, &samples);
        }
    }
    Ok(())
}

fn subject(name: &'static str, kind: Kind, route: Route) -> Subject {
    Subject { name, kind, route }
}

impl Ports {
    fn route(self) -> Route {
        Route::through_gateway(FLOWS, self.edge, self.first_inner)
    }

    fn command<'a>(self, mut words: impl Iterator<Item = &'a str>) -> Result<Command> {
        let mut command = Command::new(words.next().ok_or("no command")?);
        command.args(words);
        for (option, port) in [("--edge-port", self.edge), ("--inner-port", self.first_inner)] {
            command.args([option, &port.to_string()]);
        }
        command.args(["--flows", &FLOWS.to_string()]);
        Ok(command)
    }
}

fn own_relay(ports: Ports) -> Result<Command> {
    let program = std::env::current_exe()?;
    ports.command([program.to_str().ok_or("a path that is not UTF-8")?, "relay"].into_iter())
}

/// A relay in the gateway's namespace. It ends with its standard input, so also when this process is killed.
struct Process(Child);

impl Process {
    fn start(topology: &Topology, mut command: Command) -> Result<Process> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = topology.gateway.run(|| Ok(command.spawn()?))?;
        let output = child.stdout.take().ok_or("no standard output")?;
        let process = Process(child);
        match BufReader::new(output).lines().next() {
            Some(Ok(line)) if line == "ready" => Ok(process),
            other => Err(format!("{command:?} said {other:?}").into()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // Whatever it answers, nothing can be done about it here.
        let _ = self.0.wait();
    }
}

fn add_flows(kernel: &KernelPath, topology: &Topology, ports: Ports) -> Result<()> {
    let route = ports.route();
    let exits = [
        (Direction::Down, topology.exit_to_clients()?, 0),
        (Direction::Up, topology.exit_to_origin()?, PASS_STUN_REQUESTS),
    ];
    for (direction, exit, flags) in exits {
        for (flow, path) in route.paths(direction).iter().enumerate() {
            let old = FlowKey::new(path.from, path.to);
            let new = FlowKey::new(path.seen_from, path.seen_at);
            let id = 2 * flow as u32 + u32::from(direction == Direction::Up);
            kernel.add(&old, &Rewrite::new(old, new, exit, id, flags))?;
        }
    }
    Ok(())
}

/// Again while strangers are busy, within a bound.
fn measure<Value>(
    ours: &[u32],
    patience: Duration,
    run: impl Fn() -> Result<Value>,
) -> Result<(Value, Usage)> {
    for attempt in 1.. {
        wait_for_quiet(ours, patience)?;
        let before = Snapshot::take(ours)?;
        let value = run()?;
        let usage = before.until(&Snapshot::take(ours)?);
        if usage.foreign <= FOREIGN_SHARE * usage.wall || attempt == MAX_RUNS || patience.is_zero() {
            return Ok((value, usage));
        }
        eprintln!("strangers used {:.2} s of {:.2} s: again", usage.foreign, usage.wall);
    }
    unreachable!()
}

fn wait_for_quiet(ours: &[u32], patience: Duration) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < patience {
        let before = Snapshot::take(ours)?;
        thread::sleep(Duration::from_millis(500));
        let usage = before.until(&Snapshot::take(ours)?);
        if usage.foreign <= FOREIGN_SHARE * usage.wall {
            return Ok(());
        }
    }
    Ok(())
}

fn report(ends: Ends, direction: Direction, case: &Case, subjects: &[Subject], samples: &[Vec<Sample>]) {
    println!("\n### {ends:?}, {direction:?}, {}\n", case.name);
    println!("| subject | thousand delivered/s | loss | per CPU-second | sampled | µs each | above no gateway | foreign | stolen |");
    println!("|---|---|---|---|---|---|---|---|---|");
    let of = |samples: &[Sample], value: &dyn Fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        (values[0], median, values[values.len() - 1])
    };
    let cost = |sample: &Sample| sample.usage.not_idle * 1e6 / sample.outcome.delivered as f64;
    let floor = of(&samples[0], &cost).1;
    for (subject, samples) in subjects.iter().zip(samples) {
        let rate = of(samples, &|s| s.outcome.delivered as f64 / s.outcome.seconds / 1e3).1;
        let loss = of(samples, &|s| 1.0 - s.outcome.delivered as f64 / s.outcome.sent as f64).1;
        let (least, median, most) = of(samples, &|s| s.outcome.delivered as f64 / s.usage.not_idle / 1e3);
        let sampled = of(samples, &|s| s.outcome.delivered as f64 / s.usage.sampled / 1e3).1;
        let each = of(samples, &cost).1;
        let foreign = of(samples, &|s| s.usage.foreign / s.usage.wall).2;
        let stolen = of(samples, &|s| s.usage.stolen / s.usage.wall).2;
        println!(
            "| {} | {rate:.1} | {:.1} % | {median:.0} ({least:.0} to {most:.0}) | {sampled:.0} | {each:.2} | {:.2} | {:.1} % | {:.1} % |",
            subject.name,
            loss * 100.0,
            each - floor,
            foreign * 100.0,
            stolen * 100.0,
        );
    }
}
