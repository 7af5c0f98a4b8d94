//! Writes what was measured: tables between two marks of `docs/performance.md`, and charts beside it.
//!
//! Main function: [`write()`]. Comes in: medians. The rest of the document is written by people and stays as it is.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::Results;
use super::contenders::Row;
use super::measure::{Sample, machine};

const BEGIN: &str = "<!-- bench -->\n";
const END: &str = "<!-- /bench -->\n";

/// The rows that have a chart.
const CHARTS: [(Row, &str); 4] = [
    (Row::Kept, "kept"),
    (Row::Fresh, "fresh"),
    (Row::Connect, "connect"),
    (Row::Bulk, "bulk"),
];

pub(crate) fn write(root: &Path, results: &Results, rounds: usize) -> Result<(), String> {
    let path = root.join("docs/performance.md");
    let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let (before, rest) = text.split_once(BEGIN).ok_or("the first mark is missing")?;
    let (_, after) = rest.split_once(END).ok_or("the second mark is missing")?;
    let tables = tables(results, rounds);
    fs::write(&path, format!("{before}{BEGIN}{tables}{END}{after}"))
        .map_err(|error| error.to_string())?;
    let directory = root.join("docs/performance");
    fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    for (row, name) in CHARTS {
        let file = directory.join(format!("{name}.svg"));
        fs::write(file, chart(row, results)).map_err(|error| error.to_string())?;
    }
    println!("bench: written to docs/performance.md");
    Ok(())
}

/// What the cost of a row is counted in.
fn unit(row: Row) -> &'static str {
    match row {
        Row::Kept | Row::KeptMany | Row::Fresh | Row::Refused | Row::Connect | Row::Socks => {
            "CPU, µs per request"
        }
        Row::Bulk | Row::BulkMany => "CPU, s per GB",
        Row::Idle => "PSS, KiB per tunnel",
        Row::Start => "ms",
    }
}

fn of(row: Row, results: &Results) -> impl Iterator<Item = (&'static str, &Sample)> {
    let all = results.iter().filter(move |((it, _), _)| *it == row);
    all.map(|((_, name), sample)| (*name, sample))
}

fn tables(results: &Results, rounds: usize) -> String {
    let mut text = format!(
        "\nMedians of {rounds} round{} on {}. Contender on one core, load and origin on the other (`ours, 2 cores` shares both).\n",
        if rounds == 1 { "" } else { "s" },
        machine()
    );
    for row in Row::ALL {
        let floor = results.get(&(row, "relay-copy")).and_then(Sample::cost);
        let rate = match row {
            Row::Bulk | Row::BulkMany => "GB/s",
            _ => "requests/s",
        };
        let _ = write!(
            text,
            "\n**{}**\n\n| | {} | × relay-copy | {rate} | p50 µs | p99 µs | PSS MiB |\n|---|---:|---:|---:|---:|---:|---:|\n",
            row.title(),
            unit(row)
        );
        for (name, sample) in of(row, results) {
            if sample.failed {
                let _ = writeln!(text, "| {name} | failed | | | | | |");
                continue;
            }
            let cost = sample.cost();
            let ratio = cost
                .zip(floor)
                .map(|(cost, floor)| format!("{:.2}", cost / floor));
            let rate = match row {
                Row::Bulk | Row::BulkMany => format!("{:.2}", sample.rate / 1e9),
                _ => whole(sample.rate),
            };
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {rate} | {} | {} | {} |",
                cost.map(|cost| format!("{cost:.3}")).unwrap_or_default(),
                ratio.unwrap_or_default(),
                whole(sample.p50),
                whole(sample.p99),
                if sample.memory > 0.0 {
                    format!("{:.1}", sample.memory)
                } else {
                    String::new()
                }
            );
        }
    }
    text.push('\n');
    for (row, name) in CHARTS {
        let _ = writeln!(text, "![{}](performance/{name}.svg)", row.title());
    }
    text
}

fn whole(figure: f64) -> String {
    if figure > 0.0 {
        format!("{figure:.0}")
    } else {
        String::new()
    }
}

/// Bars, the shortest first.
fn chart(row: Row, results: &Results) -> String {
    const BAR: f64 = 380.0;
    let mut bars: Vec<(&str, f64)> = of(row, results)
        .filter_map(|(name, sample)| Some((name, sample.cost()?)))
        .collect();
    bars.sort_by(|one, other| one.1.total_cmp(&other.1));
    let longest = bars.last().map_or(1.0, |bar| bar.1);
    let height = 46 + bars.len() * 24;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"620\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"620\" height=\"{height}\" fill=\"white\"/>\n<text x=\"10\" y=\"22\" font-weight=\"bold\">{}: {} (less is better)</text>\n",
        row.title(),
        unit(row)
    );
    for (place, (name, cost)) in bars.iter().enumerate() {
        let y = 38 + place * 24;
        let colour = if name.starts_with("ours") {
            "#1a7f5a"
        } else {
            "#8a94a6"
        };
        let _ = writeln!(
            svg,
            "<text x=\"130\" y=\"{}\" text-anchor=\"end\">{name}</text><rect x=\"138\" y=\"{y}\" width=\"{:.1}\" height=\"18\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{}\">{cost:.2}</text>",
            y + 14,
            cost / longest * BAR,
            146.0 + cost / longest * BAR,
            y + 14
        );
    }
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_compares_with_the_plain_relay_and_a_chart_sorts() {
        let sample = |cost| Sample {
            cost,
            rate: 1_000.0,
            ..Sample::default()
        };
        let results = Results::from([
            ((Row::Kept, "ours"), sample(30.0)),
            ((Row::Kept, "relay-copy"), sample(20.0)),
            ((Row::Kept, "squid"), Sample::failure()),
        ]);
        let text = tables(&results, 5);
        assert!(text.contains("| ours | 30.000 | 1.50 | 1000 |"), "{text}");
        assert!(text.contains("| squid | failed |"), "{text}");
        let chart = chart(Row::Kept, &results);
        let place = |name: &str| chart.find(name).unwrap();
        assert!(place("relay-copy") < place(">ours<"), "{chart}");
        assert!(!chart.contains("squid"), "{chart}");
    }
}
