//! How fast a denoising step, the VAE, the text encoder, attention and a whole edit are here, at the
//! embedded model's size and at Stable Diffusion 1.5's (random weights, made on the fly).
//!
//! `cargo run --release --example bench -- [--json FILE] [NAME..]` prints a table; a NAME picks the works
//! whose names contain it. Two JSON files compare two builds. With `--serve` it reads a name a line and
//! answers in seconds and MiB at most: `tests/reference/bench_torch.py` alternates with it. `--check DIR` holds a
//! UNet of Stable Diffusion 1.5's size against diffusers: `tests/reference/full_size.py` makes DIR.
//! `--fast`, `--low-memory`, `--device`, `--dtype` and `--vae-tiling` are those of `p2p edit`.

mod works;

use std::io::{BufRead, Write};
use std::str::FromStr;
use std::time::Instant;

use prompt_to_prompt::device::ComputeChoice;
use prompt_to_prompt::error::{Error, Result};
use prompt_to_prompt::kernels::{Form, Packing, fma_peak};

use works::{Models, Work};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Seconds that a work is repeated for, and how often at most.
const SECONDS: f64 = 3.0;
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
                let what = format!("no such option: {arg}");
                return Err(Error::usage(
                    what,
                    "see the first lines of examples/bench/main.rs",
                ));
            }
        }
    }
    if let Some(folder) = &args.check {
        return works::check(folder, args.packing, &args.compute.open()?);
    }
    let mut models = Models::new(args.model.clone(), args.packing, args.compute)?;
    match args.serve {
        true => serve(&mut models),
        false => table(&mut models, &args),
    }
}

fn parsed<T: FromStr<Err = String>>(text: Option<String>) -> Result<T> {
    let value = text.unwrap_or_default().parse();
    value.map_err(|cure| Error::usage("a flag's value is not known", cure))
}

/// Seconds of one run, inside the pool, as the sampler runs.
fn once(run: &mut works::Run) -> Result<f64> {
    rayon::scope(|_| {
        let start = Instant::now();
        run()?;
        Ok(start.elapsed().as_secs_f64())
    })
}

fn serve(models: &mut Models) -> Result<()> {
    let all = works::all();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap_or_default();
        let answer = match all.iter().find(|work| work.name() == line.trim()) {
            Some(work) => once(&mut models.prepare(work)?)?.to_string(),
            None => format!("no such work: {line}"),
        };
        println!("{answer} {}", peak_rss_mib());
        std::io::stdout().flush().unwrap_or_default();
    }
    Ok(())
}

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
        let mut run = models.prepare(&work)?;
        once(&mut run)?; // warm
        let mut seconds: Vec<f64> = vec![];
        let begun = Instant::now();
        while seconds.len() < 3
            || seconds.len() < REPEATS && begun.elapsed().as_secs_f64() < SECONDS
        {
            seconds.push(once(&mut run)?);
        }
        drop(run);
        seconds.sort_by(f64::total_cmp);
        let (median, n) = (seconds[seconds.len() / 2], seconds.len());
        let spread = (seconds[n * 3 / 4] - seconds[n / 4]) / 2.0;
        let rate = models.flop(&work) / median;
        println!(
            "{:<34} {:>9.2} {:>7.2} {:>8.0} {:>5.0}%",
            work.name(),
            median * 1e3,
            spread * 1e3,
            rate / 1e9,
            rate / peak * 100.0
        );
        rows.push(serde_json::json!({
            "work": work.name(), "median_s": median, "spread_s": spread, "runs": n,
            "flop_per_s": rate,
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

/// 0 where the system doesn't say.
fn peak_rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
