//! Which seats are best: adjacent without leaving a single orphan seat, else adjacent, else split; always as close to
//! the centre as can be, and never a refusal while enough seats are left.

use bus::contract::movie::SeatKind;

use super::seat_map::{Seat, SeatMap};

/// Two thirds back, where picture and sound are mixed for.
const BEST_ROW: f64 = 0.66;
/// A row off costs as much as this many seats off the middle.
const ROW_WEIGHT: f64 = 2.0;

/// A run of free seats of the kind that stand side by side: indexes into the map's seats.
type Run = Vec<usize>;

/// `count` free seats of `kind`, or `None` when fewer are free.
pub fn best_available(map: &SeatMap, count: usize, kind: SeatKind) -> Option<Vec<usize>> {
    let seats = map.seats();
    let runs = runs(seats, kind);
    if count == 0 || runs.iter().map(Vec::len).sum::<usize>() < count {
        return None;
    }
    let scores = scores(seats);
    let together = |orphans_allowed: bool| {
        let windows = runs.iter().flat_map(|run| run.windows(count).map(move |window| (run, window)));
        windows
            .filter(|(run, window)| orphans_allowed || !leaves_orphan(run, window))
            .min_by(|(_, a), (_, b)| sum(&scores, a).total_cmp(&sum(&scores, b)))
            .map(|(_, window)| window.to_vec())
    };
    let mut best = together(false).or_else(|| together(true)).unwrap_or_else(|| split(&runs, &scores, count));
    best.sort_unstable();
    Some(best)
}

/// Runs in each row; a gap, a taken seat or another kind ends one.
fn runs(seats: &[Seat], kind: SeatKind) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (index, seat) in seats.iter().enumerate().filter(|(_, seat)| seat.kind == kind && seat.is_free()) {
        let follows = |last: &Seat| last.row == seat.row && last.place + 1 == seat.place;
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|last| follows(&seats[*last])) => run.push(index),
            _ => runs.push(vec![index]),
        }
    }
    runs
}

/// Taking `window` out of its run leaves exactly one seat at its left or right.
fn leaves_orphan(run: &[usize], window: &[usize]) -> bool {
    let left = window[0] - run[0];
    let right = run[run.len() - 1] - window[window.len() - 1];
    left == 1 || right == 1
}

/// Too few stand together: the party sits in as few groups as possible, the largest first, each as central as can be.
fn split(runs: &[Run], scores: &[f64], count: usize) -> Vec<usize> {
    let mut by_size: Vec<&Run> = runs.iter().collect();
    by_size.sort_by(|a, b| b.len().cmp(&a.len()).then(mean(scores, a).total_cmp(&mean(scores, b))));
    let mut chosen = Vec::with_capacity(count);
    for run in by_size {
        let wanted = count - chosen.len();
        if wanted == 0 {
            break;
        }
        let windows = run.windows(wanted.min(run.len()));
        chosen.extend(windows.min_by(|a, b| sum(scores, a).total_cmp(&sum(scores, b))).unwrap_or_default());
    }
    chosen
}

/// How far each seat is from the best place; lower is better.
fn scores(seats: &[Seat]) -> Vec<f64> {
    let rows = seats.iter().map(|seat| seat.row).max().unwrap_or(0) as f64;
    let width = seats.iter().map(|seat| seat.place).max().unwrap_or(0) as f64;
    let score = |seat: &Seat| {
        let off_row = seat.row as f64 - rows * BEST_ROW;
        let off_middle = seat.place as f64 - width / 2.0;
        (off_row * ROW_WEIGHT).powi(2) + off_middle.powi(2)
    };
    seats.iter().map(score).collect()
}

fn sum(scores: &[f64], seats: &[usize]) -> f64 {
    seats.iter().map(|index| scores[*index]).sum()
}

fn mean(scores: &[f64], seats: &[usize]) -> f64 {
    sum(scores, seats) / seats.len().max(1) as f64
}
