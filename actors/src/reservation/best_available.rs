//! Which seats are best: adjacent without leaving a single orphan seat, else adjacent, else in as few groups as possible; always
//! as close to the centre (or to given seats) as can be, and never a refusal while enough seats are left.
//!
//! Invariant: seats of one unit are taken as a whole, and no companion place is offered whose wheelchair place it would need.
//! Orders and the page's "best together" both decide here, so that they agree.

use std::ops::Range;

use bus::contract::movie::SeatKind;

use super::seat_map::SeatMap;

/// Two thirds back, where picture and sound are mixed for.
const BEST_ROW: f64 = 0.66;
/// A row off costs as much as this many seats off the middle.
const ROW_WEIGHT: f64 = 2.0;
/// The widest unit that a layout may have.
const UNIT_SEATS_MAX: usize = 4;

/// Indexes of seats in the map that are sold as a whole: a single seat or a unit.
type Block = Range<usize>;
/// Blocks of free seats of the kind that stand side by side.
type Run = Vec<Block>;

/// `count` free seats of `kind`, or `None` when fewer are free or no whole units make up the count. Close to the seats `near`,
/// or to the best place of the hall when there are none.
pub fn best_available(map: &SeatMap, count: usize, kind: SeatKind, near: &[usize]) -> Option<Vec<usize>> {
    let runs = runs(map, kind);
    if count == 0 || !can_make(count_by_size(&runs), count) {
        return None;
    }
    let scores = scores(map, near);
    let together = |orphans_allowed: bool| {
        let windows = runs.iter().flat_map(|run| windows(run, count).map(move |window| (run, span(window))));
        windows
            .filter(|(run, window)| orphans_allowed || !leaves_orphan(run, window))
            .min_by(|(_, a), (_, b)| sum(&scores, a).total_cmp(&sum(&scores, b)))
            .map(|(_, window)| window.collect())
    };
    let mut best =
        together(false).or_else(|| together(true)).or_else(|| split(runs.clone(), &scores, count))?;
    best.sort_unstable();
    Some(best)
}

/// Seats that [`best_available`] could offer once no marks are in the way, and how many of them are marked.
pub fn left(map: &SeatMap, kind: SeatKind) -> (usize, usize) {
    let seats = map.seats();
    let unsold = blocks(map, kind).filter(|block| seats[block.clone()].iter().all(|seat| seat.is_unsold()));
    unsold
        .flatten()
        .fold((0, 0), |(left, marked), seat| (left + 1, marked + usize::from(!seats[seat].is_free())))
}

/// The units and single seats of the kind that may be offered alone, free or not.
fn blocks(map: &SeatMap, kind: SeatKind) -> impl Iterator<Item = Block> {
    let mut next = 0;
    let all = std::iter::from_fn(move || {
        let block = (next < map.seats().len()).then(|| map.unit(next))?;
        next = block.end;
        Some(block)
    });
    all.filter(move |block| {
        map.seats()[block.start].kind == kind && map.wheelchairs_beside(block.start).next().is_none()
    })
}

/// Runs in each row; an aisle, a taken seat or another kind ends one.
fn runs(map: &SeatMap, kind: SeatKind) -> Vec<Run> {
    let seats = map.seats();
    let mut runs: Vec<Run> = Vec::new();
    for block in blocks(map, kind).filter(|block| seats[block.clone()].iter().all(|seat| seat.is_free())) {
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|last| map.are_adjacent(last.end - 1, block.start)) => {
                run.push(block);
            }
            _ => runs.push(vec![block]),
        }
    }
    runs
}

/// Adjacent blocks of a run that are exactly `count` seats.
fn windows(run: &[Block], count: usize) -> impl Iterator<Item = &[Block]> {
    (0..run.len()).filter_map(move |from| {
        let mut seats = 0;
        let to = run[from..].iter().position(|block| {
            seats += block.len();
            seats >= count
        })?;
        (seats == count).then(|| &run[from..=from + to])
    })
}

/// The seats of adjacent blocks.
fn span(blocks: &[Block]) -> Range<usize> {
    match blocks {
        [] => 0..0,
        [first, .., last] => first.start..last.end,
        [only] => only.clone(),
    }
}

/// Taking `window` out of its run leaves exactly one seat at its left or right.
fn leaves_orphan(run: &[Block], window: &Range<usize>) -> bool {
    let run = span(run);
    window.start - run.start == 1 || run.end - window.end == 1
}

/// How many blocks of each size there are.
fn count_by_size(runs: &[Run]) -> [usize; UNIT_SEATS_MAX + 1] {
    let mut sizes = [0; UNIT_SEATS_MAX + 1];
    for block in runs.iter().flatten() {
        sizes[block.len().min(UNIT_SEATS_MAX)] += 1;
    }
    sizes
}

/// Whether so many blocks of each size can make up exactly `count` seats.
fn can_make(sizes: [usize; UNIT_SEATS_MAX + 1], count: usize) -> bool {
    // Each bit is a number of seats that some blocks make up.
    let mut sums: u128 = 1;
    if sizes[1] >= count {
        return true;
    }
    for (size, blocks) in sizes.into_iter().enumerate().skip(1) {
        for _ in 0..blocks.min(count / size) {
            sums |= sums << size;
        }
    }
    sums >> count & 1 == 1
}

/// Too few free seats are adjacent: the party sits in as few groups as possible, the largest first, each as central as can be.
/// Each group leaves seats that can still make up the rest.
fn split(mut runs: Vec<Run>, scores: &[f64], count: usize) -> Option<Vec<usize>> {
    let mut chosen = Vec::with_capacity(count);
    while chosen.len() < count {
        let wanted = count - chosen.len();
        let (at, group) =
            (1..=wanted).rev().find_map(|size| best_group(&runs, scores, size, wanted - size))?;
        chosen.extend(group.clone());
        let run = runs.swap_remove(at);
        let (left, right): (Run, Run) = run
            .into_iter()
            .filter(|block| !group.contains(&block.start))
            .partition(|block| block.end <= group.start);
        runs.extend([left, right].into_iter().filter(|run| !run.is_empty()));
    }
    Some(chosen)
}

/// The best `size` adjacent seats that leave `rest` seats to be made up by the others, with the index of their run.
fn best_group(runs: &[Run], scores: &[f64], size: usize, rest: usize) -> Option<(usize, Range<usize>)> {
    let sizes = count_by_size(runs);
    let leaves_rest = |window: &[Block]| {
        let mut left = sizes;
        window.iter().for_each(|block| left[block.len().min(UNIT_SEATS_MAX)] -= 1);
        can_make(left, rest)
    };
    let groups = runs.iter().enumerate().flat_map(|(at, run)| {
        windows(run, size).filter(|window| leaves_rest(window)).map(move |window| (at, span(window)))
    });
    groups.min_by(|(a_run, a), (b_run, b)| {
        let orphans = leaves_orphan(&runs[*a_run], a).cmp(&leaves_orphan(&runs[*b_run], b));
        orphans.then(sum(scores, a).total_cmp(&sum(scores, b)))
    })
}

/// How far each seat is from where the party wants to sit; lower is better.
fn scores(map: &SeatMap, near: &[usize]) -> Vec<f64> {
    let seats = map.seats();
    let place = |index: &usize| (seats[*index].row as f64, f64::from(seats[*index].column));
    let (row, column) = if near.is_empty() {
        let rows = seats.iter().map(|seat| seat.row).max().unwrap_or(0) as f64;
        let columns = || seats.iter().map(|seat| f64::from(seat.column));
        let (left, right) = (columns().fold(f64::INFINITY, f64::min), columns().fold(0.0, f64::max));
        (rows * BEST_ROW, f64::midpoint(left, right))
    } else {
        let sum = near.iter().map(place).fold((0.0, 0.0), |(rows, columns), (r, c)| (rows + r, columns + c));
        (sum.0 / near.len() as f64, sum.1 / near.len() as f64)
    };
    let score = |seat: &super::seat_map::Seat| {
        let (off_row, off_column) = (seat.row as f64 - row, f64::from(seat.column) - column);
        (off_row * ROW_WEIGHT).powi(2) + off_column.powi(2)
    };
    seats.iter().map(score).collect()
}

fn sum(scores: &[f64], seats: &Range<usize>) -> f64 {
    scores[seats.clone()].iter().sum()
}
