//! The peer of bench/start.c on tokio: one task for each that is under way, on as many threads as there are cores.
//!
//!     start N CONCURRENCY MB PROGRAM [ARG...]

use std::io::BufRead;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Instant;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

fn cpu_us(who: i32) -> i64 {
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    unsafe { libc::getrusage(who, &mut usage) };
    (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1_000_000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec
}

async fn start(program: &[String]) {
    let mut child = Command::new(&program[0])
        .args(&program[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("spawn");
    let mut bytes = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut bytes).await.expect("read");
    child.wait().await.expect("wait");
}

/// Starts until n have been started; how long each took, in microseconds.
async fn work(n: usize, started: Arc<AtomicUsize>, program: Arc<Vec<String>>) -> Vec<u128> {
    let mut took = Vec::new();
    while started.fetch_add(1, Ordering::Relaxed) < n {
        let since = Instant::now();
        start(&program).await;
        took.push(since.elapsed().as_micros());
    }
    took
}

async fn round(n: usize, c: usize, mb: usize, program: Arc<Vec<String>>) {
    let started = Arc::new(AtomicUsize::new(0));
    let (self_us, children_us) = (cpu_us(libc::RUSAGE_SELF), cpu_us(libc::RUSAGE_CHILDREN));
    let begun = Instant::now();
    let workers: Vec<_> = (0..c).map(|_| tokio::spawn(work(n, started.clone(), program.clone()))).collect();
    let mut took = Vec::new();
    for worker in workers {
        took.extend(worker.await.expect("worker"));
    }
    let seconds = begun.elapsed().as_secs_f64();
    took.sort_unstable();
    println!(
        "{{\"peer\":\"tokio\",\"n\":{n},\"c\":{c},\"mb\":{mb},\"seconds\":{seconds:.6},\"rate\":{:.2},\
         \"cpu_self_us\":{},\"cpu_children_us\":{},\"median_us\":{},\"p99_us\":{}}}",
        n as f64 / seconds,
        cpu_us(libc::RUSAGE_SELF) - self_us,
        cpu_us(libc::RUSAGE_CHILDREN) - children_us,
        took[n / 2],
        took[n * 99 / 100]
    );
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |i: usize| args[i].parse::<usize>().expect("a number");
    let (n, c, mb) = (number(1), number(2), number(3));
    let program = Arc::new(args[4..].to_vec());
    let ballast = vec![1u8; mb << 20];
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");

    if std::env::var_os("BENCH_SERVE").is_none() {
        runtime.block_on(round(n, c, mb, program));
    } else {
        for _line in std::io::stdin().lock().lines() {
            runtime.block_on(round(n, c, mb, program.clone()));
        }
    }
    std::hint::black_box(&ballast); // it is to stay until here
}
