//! The plots of the comparison, as SVG.
//!
//! Only lines, marks and words: there is no background, and the grey of words and axes can be read on white and on black. No font is needed
//! to draw them, for words are placed by their anchors.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::compare::figures::{PERCENT, delays, digits, label, tick};
use crate::compare::result::Row;

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const WIDTH: u32 = 760;
/// Beside lines: their names.
const LEGEND: i32 = 200;
/// Beside bars: their names, and the values.
const NAMES: i32 = 190;
const VALUES: i32 = 190;
/// From a bar to the next.
const PITCH: i32 = 36;
/// What there is to a plot above and below its lines.
const ABOVE: i32 = 36;
const BELOW: i32 = 56;
const BIG: f64 = 18.0;
const SMALL: f64 = 16.0;

// Colours that those who are blind to some can tell apart (Okabe and Ito), without their yellow and black: each is lost on one of the grounds.
const GREY: RGBColor = RGBColor(0x88, 0x88, 0x88);
const VERMILLION: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
const DEEP_BLUE: RGBColor = RGBColor(0x00, 0x72, 0xb2);
const SEA_GREEN: RGBColor = RGBColor(0x00, 0x9e, 0x73);
const ORANGE: RGBColor = RGBColor(0xe6, 0x9f, 0x00);
const SKY: RGBColor = RGBColor(0x56, 0xb4, 0xe9);
const PURPLE: RGBColor = RGBColor(0xcc, 0x79, 0xa7);

/// At each point of a line: a second way to tell lines apart.
#[derive(Clone, Copy)]
enum Mark {
    Disc,
    Square,
    Triangle,
    Cross,
}

/// The same in every plot. Those that have a colour in common differ in their marks.
const LOOKS: [(&str, RGBColor, Mark); 9] = [
    ("intertrunk-xdp", VERMILLION, Mark::Disc),
    ("intertrunk-xsk", DEEP_BLUE, Mark::Disc),
    ("intertrunk-xsk-out", SEA_GREEN, Mark::Disc),
    ("intertrunk-uring", DEEP_BLUE, Mark::Square),
    ("intertrunk-epoll", SEA_GREEN, Mark::Square),
    ("rtpengine", ORANGE, Mark::Square),
    ("nftables", SKY, Mark::Triangle),
    ("flowtable", PURPLE, Mark::Triangle),
    ("reflector", GREY, Mark::Cross),
];

fn look(name: &str) -> (RGBColor, Mark) {
    let known = LOOKS.iter().find(|(known, ..)| *known == name);
    let other = || {
        let colour = match name.bytes().map(usize::from).sum::<usize>() % 3 {
            0 => SKY,
            1 => PURPLE,
            _ => ORANGE,
        };
        (colour, Mark::Cross)
    };
    known.map_or_else(other, |(_, colour, mark)| (*colour, *mark))
}

/// What a logarithmic axis can show.
fn is_shown(value: f64) -> bool {
    (1e-6..1e12).contains(&value)
}

/// A logarithmic axis for these values: from where to where, and what is written at it.
fn axis(values: impl Iterator<Item = f64>) -> (Range<f64>, Vec<f64>) {
    let shown = values.filter(|value| is_shown(*value));
    let bounds = |(least, greatest): (f64, f64), value: f64| (least.min(value), greatest.max(value));
    let (least, greatest) = shown.fold((f64::INFINITY, 0.0), bounds);
    let (least, greatest) = if greatest > 0.0 { (least, greatest) } else { (1.0, 10.0) };
    let (first, last) = (least.log10().floor() as i32, greatest.log10().ceil() as i32);
    let steps: &[f64] = if last - first > 3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let powers = (first..=last.max(first + 1)).map(|power| 10_f64.powi(power));
    let all: Vec<f64> = powers.flat_map(|power| steps.iter().map(move |step| step * power)).collect();
    let low = all.iter().copied().rfind(|tick| *tick <= least).unwrap_or(least);
    let high = all.iter().copied().find(|tick| *tick >= greatest && *tick > low).unwrap_or(10.0 * greatest);
    let ticks = all.into_iter().filter(|tick| (low..=high).contains(tick)).collect();
    (low..high, ticks)
}

/// The element that somebody paints; the words are for those who do not see it.
fn svg(words: &str, height: i32, paint: impl FnOnce(&Canvas<'_>) -> anyhow::Result<()>) -> anyhow::Result<String> {
    let mut drawn = String::new();
    let canvas = SVGBackend::with_string(&mut drawn, (WIDTH, height.unsigned_abs())).into_drawing_area();
    paint(&canvas)?;
    canvas.present()?;
    drop(canvas);
    Ok(drawn.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{words}\" "), 1))
}

fn write(canvas: &Canvas<'_>, words: &str, at: (i32, i32), size: f64, anchor: HPos) -> anyhow::Result<()> {
    let style = ("sans-serif", size).into_font().color(&GREY).pos(Pos::new(anchor, VPos::Center));
    Ok(canvas.draw_text(words, &style, at)?)
}

fn stroke(canvas: &Canvas<'_>, points: Vec<(i32, i32)>, style: ShapeStyle) -> anyhow::Result<()> {
    Ok(canvas.draw(&PathElement::new(points, style))?)
}

fn mark(canvas: &Canvas<'_>, at: (i32, i32), (colour, mark): (RGBColor, Mark)) -> anyhow::Result<()> {
    let (x, y) = at;
    match mark {
        Mark::Disc => canvas.draw(&Circle::new(at, 5, colour.filled()))?,
        Mark::Square => canvas.draw(&Rectangle::new([(x - 4, y - 4), (x + 4, y + 4)], colour.filled()))?,
        Mark::Triangle => canvas.draw(&TriangleMarker::new(at, 6, colour.filled()))?,
        Mark::Cross => canvas.draw(&Cross::new(at, 5, colour.stroke_width(2)))?,
    }
    Ok(())
}

/// Bars: the highest pace without loss of each, with the least and the greatest of the rounds below.
pub(crate) fn loss_free(rows: &[&Row]) -> anyhow::Result<String> {
    let count = i32::try_from(rows.len())?.max(1);
    // A bar of the slowest has some length too.
    let rates = rows.iter().map(|row| row.loss_free_kpps);
    let (range, ticks) = axis(rates.flat_map(|rate| [0.6 * rate.median, rate.least, rate.median, rate.greatest]));
    let low = range.start;
    svg("Highest rate without loss", ABOVE + BELOW + count * PITCH, |canvas| {
        let chart = ChartBuilder::on(canvas)
            .margin_left(NAMES)
            .margin_right(VALUES)
            .margin_top(ABOVE)
            .margin_bottom(BELOW)
            .build_cartesian_2d(range.log_scale(), 0.0..f64::from(count))?;
        // The first is at the top.
        let place =
            |rate: f64, index: usize| chart.backend_coord(&(rate.max(low), f64::from(count) - index as f64 - 0.5));
        let (top, bottom) = (ABOVE, ABOVE + count * PITCH);
        write(canvas, "thousands of packets a second, logarithmic", (NAMES, ABOVE / 2), BIG, HPos::Left)?;
        let mut written_to = i32::MIN;
        for value in ticks {
            let (x, _) = place(value, 0);
            stroke(canvas, vec![(x, top), (x, bottom)], GREY.mix(0.35).stroke_width(1))?;
            // Where lines are dense, not each has its number.
            if x > written_to + 48 {
                write(canvas, &tick(value), (x, bottom + 16), SMALL, HPos::Center)?;
                written_to = x;
            }
        }
        for (index, row) in rows.iter().enumerate() {
            let (rate, (colour, _)) = (row.loss_free_kpps, look(&row.name));
            let ((from, y), (to, _)) = (place(low, index), place(rate.median, index));
            write(canvas, &label(row), (NAMES - 10, y), SMALL, HPos::Right)?;
            if !is_shown(rate.median) {
                write(canvas, &digits(rate.median), (from + 8, y), SMALL, HPos::Left)?;
                continue;
            }
            let style = colour.mix(if row.is_secured { 0.6 } else { 1.0 }).filled();
            canvas.draw(&Rectangle::new([(from, y - 11), (to, y + 7)], style))?;
            let mut end = to;
            if is_shown(rate.least) && is_shown(rate.greatest) {
                let ((least, _), (greatest, _)) = (place(rate.least, index), place(rate.greatest, index));
                let whisker = GREY.stroke_width(2);
                stroke(canvas, vec![(least, y + 12), (greatest, y + 12)], whisker)?;
                stroke(canvas, vec![(least, y + 9), (least, y + 15)], whisker)?;
                stroke(canvas, vec![(greatest, y + 9), (greatest, y + 15)], whisker)?;
                end = to.max(greatest);
            }
            if row.is_at_rigs_limit {
                // An arrow: it may go on.
                canvas.draw(&Polygon::new(vec![(end + 3, y - 9), (end + 3, y + 5), (end + 11, y - 2)], style))?;
                end += 10;
            }
            let more = if row.is_at_rigs_limit { " or more" } else { "" };
            write(canvas, &format!("{}{more}", digits(rate.median)), (end + 8, y), SMALL, HPos::Left)?;
        }
        Ok(())
    })
}

/// A line of a plot.
struct Line<'a> {
    row: &'a Row,
    /// From left to right.
    points: Vec<(f64, f64)>,
}

/// Lines: what a packet costs by how many streams there are.
pub(crate) fn cost_by_streams(rows: &[&Row]) -> anyhow::Result<String> {
    let place = |streams: u32| f64::from(streams.max(1)).ln();
    let mut streams: Vec<u32> = rows.iter().flat_map(|row| row.costs.iter().map(|cost| cost.streams)).collect();
    streams.sort_unstable();
    streams.dedup();
    let below: Vec<_> = streams.into_iter().map(|count| (place(count), tick(f64::from(count)))).collect();
    let line = |row: &Row| row.costs.iter().map(|cost| (place(cost.streams), cost.cpu_us.median)).collect();
    let drawn = rows.iter().map(|row| Line { row, points: line(row) }).collect();
    let titles = ["Processor time for each packet", "processor time for each packet, µs, logarithmic", "streams"];
    lines(titles, &below, drawn)
}

/// Lines: how long packets are delayed, from the median to the slowest of ten thousand.
pub(crate) fn latency(rows: &[&Row]) -> anyhow::Result<String> {
    let below: Vec<_> = ["p50", "p90", "p99", "p99.9", "p99.99"].map(str::to_owned).into();
    let below: Vec<_> = below.into_iter().enumerate().map(|(index, name)| (index as f64, name)).collect();
    let drawn = rows.iter().filter_map(|row| {
        let delays = delays(row)?;
        let values = [delays.p50, delays.p90, delays.p99, delays.p999, delays.p9999];
        Some(Line { row, points: values.into_iter().enumerate().map(|(index, value)| (index as f64, value)).collect() })
    });
    let above = format!("delay at {PERCENT} % of the highest rate, µs, logarithmic");
    lines(["Delay", &above, "so many of the packets are within"], &below, drawn.collect())
}

/// One plot of lines: what it is, what is above and what below; the marks below; the lines.
fn lines(titles: [&str; 3], below: &[(f64, String)], mut lines: Vec<Line<'_>>) -> anyhow::Result<String> {
    let [words, above, beneath] = titles;
    for line in &mut lines {
        line.points.retain(|(_, y)| is_shown(*y));
        line.points.sort_by(|one, other| one.0.total_cmp(&other.0));
    }
    lines.retain(|line| !line.points.is_empty());
    // Names stand in the order in which lines end.
    let end = |line: &Line<'_>| line.points.last().map_or(0.0, |(_, y)| *y);
    lines.sort_by(|one, other| end(other).total_cmp(&end(one)));
    let (range, ticks) = axis(lines.iter().flat_map(|line| line.points.iter().map(|(_, y)| *y)));
    let low = range.start;
    let least = below.first().map_or(0.0, |(x, _)| *x);
    let greatest = below.last().map_or(1.0, |(x, _)| *x).max(least + 0.1);
    let aside = 0.04 * (greatest - least);
    let (left, height) = (64, 420);
    let (right, bottom) = (i32::try_from(WIDTH)? - LEGEND, height - BELOW);
    svg(words, height, |canvas| {
        let chart = ChartBuilder::on(canvas)
            .margin_left(left)
            .margin_right(LEGEND)
            .margin_top(ABOVE)
            .margin_bottom(BELOW)
            .build_cartesian_2d(least - aside..greatest + aside, range.log_scale())?;
        write(canvas, above, (left, ABOVE / 2), BIG, HPos::Left)?;
        for value in ticks {
            let (_, y) = chart.backend_coord(&(least, value));
            stroke(canvas, vec![(left, y), (right, y)], GREY.mix(0.35).stroke_width(1))?;
            write(canvas, &tick(value), (left - 8, y), SMALL, HPos::Right)?;
        }
        for (x, name) in below {
            let (x, _) = chart.backend_coord(&(*x, low));
            stroke(canvas, vec![(x, bottom), (x, bottom + 5)], GREY.stroke_width(1))?;
            write(canvas, name, (x, bottom + 16), SMALL, HPos::Center)?;
        }
        write(canvas, beneath, (left + (right - left) / 2, bottom + 40), BIG, HPos::Center)?;
        for (index, line) in lines.iter().enumerate() {
            let look = look(&line.row.name);
            let width = if line.row.name.starts_with("intertrunk") { 4 } else { 2 };
            let places: Vec<_> = line.points.iter().map(|point| chart.backend_coord(point)).collect();
            let y = ABOVE + 14 + 24 * i32::try_from(index)?;
            stroke(canvas, places.clone(), look.0.stroke_width(width))?;
            stroke(canvas, vec![(right + 14, y), (right + 42, y)], look.0.stroke_width(width))?;
            for place in places.into_iter().chain([(right + 28, y)]) {
                mark(canvas, place, look)?;
            }
            write(canvas, &label(line.row), (right + 50, y), SMALL, HPos::Left)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::figures::example;
    use crate::compare::result::{Comparison, Delays};
    use crate::rounds::Spread;

    fn all(rows: &[&Row]) -> [String; 3] {
        [loss_free(rows), cost_by_streams(rows), latency(rows)].map(Result::unwrap)
    }

    #[test]
    fn each_plot_is_one_element_with_the_names() {
        let Comparison { rows, .. } = example::comparison();
        for drawn in all(&rows.iter().collect::<Vec<_>>()) {
            assert!(drawn.starts_with("<svg ") && drawn.trim_end().ends_with("</svg>"), "{drawn}");
            assert!(drawn.contains("viewBox=\"0 0 760 "), "{drawn}");
            assert!(drawn.contains("intertrunk-xdp") && drawn.contains("rtpengine"), "{drawn}");
            assert!(drawn.contains("a &lt;b&gt;") && !drawn.contains("NaN"), "{drawn}");
        }
    }

    #[test]
    fn nothing_and_zeros_are_drawn_too() {
        all(&[]);
        let mut row = example::row("rtpengine", false, 1.0);
        let zero = Spread { median: 0.0, least: 0.0, greatest: 0.0 };
        row.loss_free_kpps = zero;
        row.costs.iter_mut().for_each(|cost| (cost.streams, cost.cpu_us) = (0, zero));
        let delay_us = Delays { p50: 0.0, p90: 0.0, p99: f64::NAN, p999: f64::INFINITY, p9999: -1.0 };
        row.latencies.iter_mut().for_each(|latency| latency.delay_us = delay_us);
        for drawn in all(&[&row, &row]) {
            assert!(drawn.ends_with("</svg>\n") && !drawn.contains("NaN"), "{drawn}");
        }
    }

    #[test]
    fn an_axis_holds_all_values_and_no_zero() {
        let (range, ticks) = axis([0.0, 3.0, 70.0, f64::NAN].into_iter());
        assert_eq!((range, ticks), (2.0..100.0, vec![2.0, 5.0, 10.0, 20.0, 50.0, 100.0]));
        assert_eq!(axis([1.0].into_iter()).0, 1.0..2.0);
        assert_eq!(axis(std::iter::empty()).0, 1.0..10.0);
        assert_eq!(axis([1.0, 90_000.0].into_iter()).1, [1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0]);
    }
}
