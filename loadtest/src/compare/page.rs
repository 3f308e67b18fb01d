//! The comparison as a page for people, and as tables for the README.

use crate::compare::figures::{self, PERCENT, Table};
use crate::compare::plots;
use crate::compare::result::{Comparison, Row};

const TITLE: &str = "Intertrunk beside what it replaces";

/// A plot that is part of a page needs no name of its language, and a page without addresses is seen to fetch nothing.
const NAMESPACE: &str = " xmlns=\"http://www.w3.org/2000/svg\"";

/// Sizes follow the width: the same page is read on a phone and on a wall.
const STYLE: &str = "
:root { color-scheme: light dark; --ground: #fff; --ink: #1c1e21; --faint: #5b6068; --line: #d5d8dd; --note: #fff1d6; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #15171a; --ink: #e6e8eb; --faint: #a3a9b2; --line: #3a3f46; --note: #4a3608; }
}
html { font-size: clamp(15px, 0.55vw + 11px, 30px); }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 75rem; background: var(--ground); color: var(--ink);
  font-family: system-ui, sans-serif; line-height: 1.5; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 1rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 0.75rem; }
p, li, dd, figcaption { max-width: 50rem; }
.lead { font-size: 1.1rem; }
.notice { background: var(--note); padding: 0.75rem 1rem; border-radius: 0.4rem; font-weight: 600; }
figure { margin: 2rem 0; overflow-x: auto; }
figure svg { display: block; width: 100%; min-width: 34rem; max-width: 62rem; height: auto; }
figure svg text { fill: currentColor; }
figcaption { color: var(--faint); margin-top: 0.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.4rem 0.7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { vertical-align: bottom; color: var(--faint); font-weight: 600; }
tbody th { white-space: nowrap; }
.n { text-align: right; }
td.n { white-space: nowrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.3rem 1rem; }
dt { color: var(--faint); }
dd { margin: 0; overflow-wrap: anywhere; }
";

/// How the figures came about, paragraph by paragraph.
const HOW: [(&str, &str); 8] = [
    (
        "The rig",
        "Two network namespaces are joined by a veth pair. The kernel itself makes the frames, on one core. The other core is the \
         relay's: whatever carries the packets keeps to it, with all that the kernel does for it, from the taking of a frame out of the \
         device's queue to its arrival at the other end. All get the same streams and the same frames; each runs alone, for even an idle relay \
         takes time of the core. With SRTP each stream is a call of its own, otherwise every two are.",
    ),
    (
        "Loss-free rate",
        "The highest pace at which, in the best of three tries, less than 0.1 % of the packets are lost or still queued 20 ms after the last \
         one was sent: the queues of thousands of sockets would count as a rate otherwise, and a virtual machine's host takes the processors \
         away now and then, from whichever is measured just then. Who has deep queues gains up to 20 ms of overload by this rule. \"or more\" marks what comes near the rate of the bare \
         reflector: the rig makes no more than that, and so the real limit is not known.",
    ),
    (
        "Processor time",
        "All the time that the relay's core is not idle, divided by the packets that arrived: the kernel's part is in it, and so is what \
         interrupts do. It is measured at one pace, the same for all and for each number of streams; packets per CPU second are those at the highest pace, where \
         batches are largest.",
    ),
    (
        "Delay",
        "From the making of a frame to its arrival at the other end, of each packet, at a share of the highest pace of each. So those that \
         are faster are measured at a higher pace. Buckets are an eighth of a power of two wide. What leaves as SRTP has its stamp of time encrypted: its delay is not known.",
    ),
    (
        "SRTP",
        "What comes in is plain, and what goes out is protected: the cost of the protection is that of one direction.",
    ),
    (
        "Killed and started again",
        "The program is killed and at once started again while packets are sent. The gap is the time without packets: those that were \
         lost, at the pace at which they were sent. What is no program has none. Intertrunk goes on with what it keeps on disk and in the \
         kernel; rtpengine is run as it is installed, without the Redis in which it could keep its calls.",
    ),
    (
        "Commands",
        "Whole calls (offer, answer and delete) while others stand, as fast as one processor does them; replies are timed at half of that \
         rate. Memory is that of the process, resident, for each standing call; sockets and maps of the kernel are not in it.",
    ),
    (
        "Rounds",
        "Each round measures everything once, one after the other. Figures are medians \
         of the rounds; in brackets are the least and the greatest.",
    ),
];

/// The whole page, in one file that fetches nothing.
///
/// # Errors
/// When a plot cannot be drawn.
pub fn html(comparison: &Comparison) -> anyhow::Result<String> {
    let (secured, plain): (Vec<&Row>, Vec<&Row>) = comparison.rows.iter().partition(|row| row.is_secured);
    let all: Vec<&Row> = plain.iter().chain(&secured).copied().collect();
    let plots = [
        (
            plots::loss_free(&all)?,
            "The highest rate at which nearly nothing is lost; longer is better. The scale is logarithmic: the number at a bar tells more \
             than its length. The thin line below a bar goes from the least to the greatest of the rounds. An arrow and \"or more\": as much \
             as the rig can make."
                .to_owned(),
        ),
        (
            plots::cost_by_streams(&plain)?,
            "What a packet costs, the kernel's part included; lower is better. A level line does not mind how many streams there are. Both \
             scales are logarithmic. Without SRTP."
                .to_owned(),
        ),
        (
            plots::latency(&plain)?,
            format!(
                "How long a packet takes from one end to the other, each at {PERCENT} % of its own highest rate; lower is better. At p99.9, \
                 999 of 1000 packets are as fast as that or faster. The scale is logarithmic. Without SRTP."
            ),
        ),
    ];
    let plots = plots.map(|(plot, caption)| {
        format!(
            "<figure>\n{}<figcaption>{}</figcaption>\n</figure>\n",
            plot.replacen(NAMESPACE, "", 1),
            escape(&caption)
        )
    });
    let notice = if comparison.circumstances.is_quick {
        "<p class=\"notice\">This is the short form of the comparison: few and short rounds. Its figures are not for quoting.</p>\n"
    } else {
        ""
    };
    let how = HOW.map(|(what, how)| format!("<p><strong>{}.</strong> {}</p>\n", escape(what), escape(how)));
    let missing = figures::not_measured(comparison).into_iter().map(|what| format!("<li>{}</li>\n", escape(&what)));
    let circumstances = figures::circumstances(comparison)
        .into_iter()
        .map(|(name, what)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(&what)));
    let started = comparison.circumstances.started.iter();
    let started: String =
        started.map(|(name, command)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(command))).collect();
    let started =
        if started.is_empty() { started } else { format!("<h2>How each was started</h2>\n<dl>\n{started}</dl>\n") };
    Ok([
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
        &format!("<title>{TITLE}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{TITLE}</h1>\n{notice}"),
        &format!("<p class=\"lead\">{}</p>\n", escape(&figures::summary(comparison).join(" "))),
        "<p>1 kpps is a thousand packets a second. Each figure is the median of several rounds.</p>\n",
        &plots.concat(),
        &section("Packets", &figures::carriers(comparison, false)),
        &section("Packets, protected as SRTP", &figures::carriers(comparison, true)),
        &section("Delays of plain packets", &figures::all_delays(comparison)),
        &section("Commands", &figures::commanded(comparison)),
        &format!("<h2>How each figure was taken</h2>\n{}", how.concat()),
        &format!("<h2>What was not measured</h2>\n<ul>\n{}</ul>\n", missing.collect::<String>()),
        &format!("<h2>Circumstances</h2>\n<dl>\n{}</dl>\n", circumstances.collect::<String>()),
        &started,
        "</body>\n</html>\n",
    ]
    .concat())
}

/// A heading with its table; nothing when the table is empty.
fn section(heading: &str, table: &Table) -> String {
    if table.rows.is_empty() {
        return String::new();
    }
    let class = |column: usize| if column < table.words { "" } else { " class=\"n\"" };
    let heads = table.heads.iter().enumerate();
    let heads: String =
        heads.map(|(column, head)| format!("<th scope=\"col\"{}>{}</th>", class(column), escape(head))).collect();
    let row = |cells: &Vec<String>| {
        let cells = cells.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("<th scope=\"row\">{}</th>", escape(cell)),
            _ => format!("<td{}>{}</td>", class(column), escape(cell)),
        });
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let rows: String = table.rows.iter().map(row).collect();
    let heading = escape(heading);
    format!(
        "<h2>{heading}</h2>\n<div class=\"wide\"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

/// Text as HTML.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// The same tables for a README, with a line for the circumstances and a line for what was not measured.
pub fn markdown(comparison: &Comparison) -> String {
    let quick =
        if comparison.circumstances.is_quick { "A short form, whose figures are not for quoting. " } else { "" };
    let circumstances = figures::circumstances(comparison).into_iter();
    let circumstances: Vec<String> =
        circumstances.map(|(name, what)| format!("{}: {}", name.to_lowercase(), in_line(&what))).collect();
    let missing: Vec<String> = figures::not_measured(comparison).iter().map(|what| in_line(what)).collect();
    let started = comparison.circumstances.started.iter();
    let started: String = started.map(|(name, command)| format!("    {name}: {command}\n")).collect();
    let started = if started.is_empty() { started } else { format!("Started as:\n\n{started}") };
    let parts = [
        lines(&figures::carriers(comparison, false), ""),
        lines(&figures::carriers(comparison, true), "Protected as SRTP:\n\n"),
        lines(&figures::commanded(comparison), "Commands:\n\n"),
        format!("{quick}Circumstances: {}.\n", circumstances.join("; ")),
        format!("Not measured: {}.\n", missing.join("; ")),
        started,
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

/// A table with what stands above it; nothing when it is empty.
fn lines(table: &Table, above: &str) -> String {
    if table.rows.is_empty() {
        return String::new();
    }
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| in_line(cell)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = (0..table.heads.len()).map(|column| if column < table.words { "---" } else { "---:" });
    let rule = format!("| {} |\n", rule.collect::<Vec<_>>().join(" | "));
    let rows: String = table.rows.iter().map(|cells| line(cells)).collect();
    format!("{above}{}{rule}{rows}", line(&table.heads))
}

/// Text in a line of Markdown, be it in a table.
fn in_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ").replace('&', "&amp;").replace('<', "&lt;").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::figures::example;

    /// What every page keeps to.
    fn check(page: &str) {
        for never in ["http://", "https://", "NaN", "inf", "<b>", "<folder>"] {
            assert!(!page.contains(never), "{never} is in {page}");
        }
        for tag in ["table", "figure", "svg", "tr", "p", "h2", "dl", "ul", "body", "html"] {
            let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn the_page_has_everything() {
        let comparison = example::comparison();
        let page = html(&comparison).unwrap();
        check(&page);
        for row in &comparison.rows {
            assert!(page.contains(&format!("<th scope=\"row\">{}</th>", escape(&row.name))), "{}", row.name);
        }
        assert!(page.contains("a &lt;b&gt; | c"));
        assert_eq!(page.matches("<table").count(), 4);
        assert_eq!(page.matches("<svg ").count(), 3);
        assert!(page.contains("flowtable: this kernel has none"));
        assert!(page.contains("its calls are gone"));
        assert!(
            page.contains("rtpengine --table=-1")
                && markdown(&comparison).contains("    rtpengine: rtpengine --table=-1\n")
        );
        assert!(!page.contains("class=\"notice\""));
    }

    #[test]
    fn a_short_form_says_so() {
        let mut comparison = example::comparison();
        comparison.circumstances.is_quick = true;
        assert!(html(&comparison).unwrap().contains("class=\"notice\""));
        assert!(markdown(&comparison).contains("not for quoting"));
    }

    #[test]
    fn a_page_needs_neither_rtpengine_nor_srtp_nor_anything() {
        let mut comparison = example::comparison();
        comparison.rows.retain(|row| row.name != "rtpengine" && !row.is_secured);
        let page = html(&comparison).unwrap();
        check(&page);
        assert!(page.contains("rtpengine was not measured here"));
        assert!(!page.contains("protected as SRTP"));
        comparison.rows.clear();
        comparison.commanded.clear();
        check(&html(&comparison).unwrap());
        assert!(!markdown(&comparison).lines().any(|line| line.starts_with('|')));
    }

    #[test]
    fn each_line_of_a_table_has_as_many_cells() {
        let told = markdown(&example::comparison());
        let tables: Vec<Vec<&str>> = told
            .split("\n\n")
            .map(|part| part.lines().filter(|line| line.starts_with('|')).collect::<Vec<_>>())
            .filter(|lines| !lines.is_empty())
            .collect();
        let cells = |line: &str| line.replace("\\|", "").matches('|').count() - 1;
        let counts: Vec<Vec<usize>> =
            tables.iter().map(|lines| lines.iter().map(|line| cells(line)).collect()).collect();
        assert_eq!(counts, [vec![9; 7], vec![9; 4], vec![7; 4]], "{told}");
        assert!(told.contains("| a &lt;b> \\| c |") && told.contains("Some \\| Processor"), "{told}");
    }
}
