//! Measures a denoising step, the VAE, the text encoder, attention and a whole edit, at the size of the embedded
//! model and at the size of Stable Diffusion 1.5 (with random weights).
//!
//! `cargo run --release --example bench -- [--json FILE] [NAME..]` prints a table. A NAME selects the works
//! whose names contain it. Compare two builds through their JSON files.
//!
//! - `--serve` reads one name per line and prints the seconds of one run and the peak of memory in MiB.
//!   `tests/reference/bench_torch.py` alternates with it.
//! - `--check DIR` compares a UNet of the size of Stable Diffusion 1.5 with diffusers.
//!   `tests/reference/full_size.py` writes DIR.
//! - `--model DIR` loads Stable Diffusion 1.5 from a folder.
//! - `--fast`, `--low-memory`, `--device`, `--dtype` and `--vae-tiling` mean the same as for `p2p edit`.

mod models;
mod runs;
mod works;

use std::io::{BufRead, Write};
use std::str::FromStr;
use std::time::Instant;

use prompt_to_prompt::device::ComputeChoice;
use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::kernels::{Form, Packing, fma_peak};

use models::Models;
use runs::Run;
use works::Work;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seconds for which a work is repeated.
const SECONDS: f64 = 3.0;
/// The most repetitions of a work.
const REPEATS: usize = 15;

#[derive(Default)]
struct Args {
    json: Option<String>,
    model: Option<String>,
    check: Option<String>,
    serve: bool,
    packing: Packing,
    compute: ComputeChoice,
    names: Vec<String>,
}

fn main() -> Result<()> {
    let mut args = Args::default();
    let mut given = std::env::args().skip(1);
    while let Some(arg) = given.next() {
        match arg.as_str() {
            "--json" => args.json = given.next(),
            "--model" => args.model = given.next(),
            "--serve" => args.serve = true,
            "--check" => args.check = given.next(),
            "--fast" => args.packing.large_tiles = true,
            "--low-memory" => args.packing.on_demand = true,
            "--vae-tiling" => args.compute.vae_tiling = true,
            "--device" => args.compute.device = parsed(given.next())?,
            "--dtype" => args.compute.dtype = parsed(given.next())?,
            name if !name.starts_with('-') => args.names.push(arg),
            _ => {
                let what = format!("unknown option {arg}");
                return Err(Error::usage(
                    what,
                    "the first lines of examples/bench/main.rs list the options",
                ));
            }
        }
    }
    if let Some(folder) = &args.check {
        return models::check(folder, args.packing, &args.compute.open()?);
    }
    let mut models = Models::new(args.model.clone(), args.packing, args.compute)?;
    if args.serve {
        serve(&mut models)
    } else {
        table(&mut models, &args)
    }
}

/// The value of an option.
fn parsed<T: FromStr<Err = String>>(text: Option<String>) -> Result<T> {
    let value = text.unwrap_or_default().parse();
    value.map_err(|cure| Error::usage("an option has an unknown value", cure))
}

/// The seconds of one run, inside the thread pool, where the sampler runs too.
fn once(run: &mut Run) -> Result<f64> {
    rayon::scope(|_| {
        let start = Instant::now();
        run()?;
        Ok(start.elapsed().as_secs_f64())
    })
}

/// Answers the names on standard input.
fn serve(models: &mut Models) -> Result<()> {
    let all = works::all();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap_or_default();
        let answer = match all.iter().find(|work| work.name() == line.trim()) {
            Some(work) => once(&mut models.prepare(work)?)?.to_string(),
            None => format!("unknown work {line}"),
        };
        println!("{answer} {}", peak_rss_mib());
        std::io::stdout().flush().unwrap_or_default();
    }
    Ok(())
}

/// Measures the chosen works and prints a table.
fn table(models: &mut Models, args: &Args) -> Result<()> {
    let peak = fma_peak();
    let (form, threads) = (Form::current().name(), rayon::current_num_threads());
    println!(
        "{form} on {threads} threads, {:.0} GFLOP/s at most",
        peak / 1e9
    );
    println!(
        "{:<34} {:>9} {:>7} {:>8} {:>6}",
        "work", "ms", "+-", "GFLOP/s", "of max"
    );
    let mut rows = vec![];
    let chosen =
        |work: &Work| args.names.is_empty() || args.names.iter().any(|n| work.name().contains(n));
    for work in works::all().into_iter().filter(chosen) {
        let timing = measure(models.prepare(&work)?)?;
        let rate = models.flop(&work) / timing.median;
        println!(
            "{:<34} {:>9.2} {:>7.2} {:>8.0} {:>5.0}%",
            work.name(),
            timing.median * 1e3,
            timing.spread * 1e3,
            rate / 1e9,
            rate / peak * 100.0
        );
        rows.push(serde_json::json!({
            "work": work.name(), "median_s": timing.median, "spread_s": timing.spread,
            "runs": timing.runs, "flop_per_s": rate,
        }));
    }
    println!("peak memory {} MiB", peak_rss_mib());
    if let Some(path) = &args.json {
        let all = serde_json::json!({
            "form": form, "threads": threads, "fma_peak_flop_per_s": peak,
            "peak_rss_mib": peak_rss_mib(), "works": rows,
        });
        let text = serde_json::to_string_pretty(&all).expect("plain numbers");
        std::fs::write(path, text)
            .map_err(|e| Error::run(format!("cannot write {path}: {e}"), "check the path"))?;
    }
    Ok(())
}

/// How long a work takes, in seconds.
struct Timing {
    median: f64,
    /// Half of the distance between the quartiles.
    spread: f64,
    runs: usize,
}

/// Repeats a work until it has run long enough.
fn measure(mut run: Run) -> Result<Timing> {
    once(&mut run)?; // The first run warms the caches.
    let mut seconds: Vec<f64> = vec![];
    let begun = Instant::now();
    while seconds.len() < 3 || seconds.len() < REPEATS && begun.elapsed().as_secs_f64() < SECONDS {
        seconds.push(once(&mut run)?);
    }
    seconds.sort_by(f64::total_cmp);
    let runs = seconds.len();
    Ok(Timing {
        median: seconds[runs / 2],
        spread: (seconds[runs * 3 / 4] - seconds[runs / 4]) / 2.0,
        runs,
    })
}

/// The peak of memory of this process in MiB, or 0 if the system does not report it.
fn peak_rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
