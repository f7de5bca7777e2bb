use super::*;
use crate::record::{EvalRecord, StepRecord};

const SCRIPT: &str = "<script>alert('1')</script>";

fn step(step: usize, gradient_norm: f64) -> Record {
    Record::Step(StepRecord {
        step,
        loss: 3.0 / step as f64,
        learning_rate: 1e-3,
        gradient_norm,
        targets: 10,
        tokens: 200,
        seconds: 0.5,
        ..StepRecord::default()
    })
}

fn eval(step: usize, exact_match: Option<f64>) -> Record {
    let bleu = exact_match.map(|share| share / 2.0);
    let (eval_loss, perplexity, accuracy) = (2.0, 7.389, 0.512);
    Record::Eval(EvalRecord { step, eval_loss, perplexity, accuracy, exact_match, bleu })
}

fn sample(expected: &str, before: Option<&str>, output: &str) -> Sample {
    let prompt = format!("prompt {SCRIPT}");
    let (expected, output) = (expected.to_owned(), output.to_owned());
    let before = before.map(str::to_owned);
    Sample { prompt, expected, alternatives: Vec::new(), before, output }
}

/// The tags of a page, in order, text and attributes left out.
fn tags(page: &str) -> Vec<&str> {
    page.split('<').skip(1).filter_map(|tag| tag.split([' ', '>', '\n']).next()).collect()
}

#[test]
fn no_text_of_anyone_becomes_markup() {
    let hostile = format!("</pre></dd></title>{SCRIPT}\" onload=\"x: <img src=x>&");
    let samples = [sample(&hostile, Some(&hostile), "b")];
    let records = [eval(0, None), step(1, 0.5), eval(1, Some(0.25))];
    let page_of = |text: &str, samples: &[Sample]| {
        let report = RunReport {
            title: text,
            config_toml: text,
            summary: &[(text, text.to_owned())],
            records: &records,
            samples,
            patch_report: text,
            facts: &[(text, text)],
        };
        render(&report).unwrap()
    };
    let page = page_of(&hostile, &samples);
    assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"));
    let harmless = [sample("a", Some("a"), "b")];
    assert_eq!(tags(&page), tags(&page_of("a", &harmless)));
}

#[test]
fn the_page_loads_nothing() {
    let records = [eval(0, None), step(1, 0.5), step(2, 0.25), eval(2, None)];
    let page =
        render(&RunReport { title: "run", records: &records, ..Default::default() }).unwrap();
    for text in ["://", "src=", "href=", "url(", "@import", "<script", "<link", "xmlns"] {
        assert!(!page.contains(text), "{text}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn every_part_is_there_and_one_with_nothing_to_show_is_not() {
    let records = [eval(0, None), step(1, 0.5), step(2, 0.25), eval(2, Some(0.25))];
    let samples = [sample("a", Some("a "), "b"), sample("c", None, "c")];
    let page = render(&RunReport {
        title: "run 1",
        config_toml: "\n[train]\nsteps = 2",
        summary: &[("held-out loss", "2.0 -> 1.0".to_owned())],
        records: &records,
        samples: &samples,
        patch_report: "2 of 4 linears",
        facts: &[("CPU", "two cores")],
    })
    .unwrap();
    for part in [
        "<title>run 1</title>",
        "<dt>held-out loss</dt><dd dir=\"auto\">2.0 -&gt; 1.0</dd>",
        "Loss per target, in nats",
        "Learning rate",
        "Gradient norm",
        "Tokens a second",
        "<h4>before <span class=\"exact\">exact</span></h4>",
        "<tr><td>0</td><td>2.0000</td><td>7.389</td><td>51.2 %</td><td>–</td><td>–</td></tr>",
        "<td>25.0 %</td><td>12.50</td>",
        "<pre dir=\"auto\">\n\n[train]\nsteps = 2</pre>",
        "2 of 4 linears",
        "<dt>CPU</dt><dd dir=\"auto\">two cores</dd>",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert_eq!(page.matches("<h4>before").count(), 1, "the second was not generated before");
    assert_eq!(page.matches("class=\"exact\"").count(), 2);
    let empty = render(&RunReport { title: "run", ..Default::default() }).unwrap();
    assert!(!empty.contains("<section>") && !empty.contains("<figure>"), "{empty}");
}

#[test]
fn what_was_not_recorded_or_is_no_number_is_not_drawn() {
    let render = |records: &[Record]| {
        render(&RunReport { title: "run", records, ..Default::default() }).unwrap()
    };
    assert!(!render(&[step(1, 0.0), step(2, 0.0)]).contains("Gradient norm"));
    assert!(!render(&[step(1, f64::NAN)]).contains("Gradient norm"));
    let only_held_out = render(&[eval(0, None)]);
    assert_eq!(only_held_out.matches("<figure>").count(), 1);
    assert!(!only_held_out.contains("smoothed"));
}

#[test]
fn a_long_run_makes_no_long_page() {
    let records: Vec<Record> = (1..=50_000).map(|index| step(index, 0.5)).collect();
    let page =
        render(&RunReport { title: "run", records: &records, ..Default::default() }).unwrap();
    // Seven curves of at most 960 points, each at most 8 characters, and what is around them.
    assert!(page.len() < 7 * 960 * 8 + 30_000, "{}", page.len());
}

#[test]
fn every_colour_of_a_plot_has_one_for_the_dark() {
    let records = [eval(0, None), step(1, 0.5), step(2, 0.25), eval(2, None)];
    let page =
        render(&RunReport { title: "run", records: &records, ..Default::default() }).unwrap();
    let plots: String =
        page.split("<svg").skip(1).filter_map(|rest| rest.split("</svg>").next()).collect();
    let mut colours = 0;
    for attribute in ["stroke=\"#", "fill=\"#"] {
        for rest in plots.split(attribute).skip(1) {
            let selector = format!(".plot [{attribute}{}\"]", &rest[..6]);
            assert!(STYLE.contains(&selector), "{selector}");
            colours += 1;
        }
    }
    assert!(colours > 20, "{colours}");
}

#[test]
fn a_page_of_an_adapter_has_its_plots_and_tables_and_no_text_of_a_file_becomes_markup() {
    let spectra = [LayerSpectrum {
        path: "layers.0.q_proj",
        singular_values: &[2.0, 1.0],
        energy: &[0.8, 1.0],
    }];
    let rows = vec![vec!["layer".to_owned()], vec![format!("a{SCRIPT}")]];
    let (facts, tables) = ([("base model", SCRIPT.to_owned())], [("Layers", rows)]);
    let report = AdapterReport {
        title: SCRIPT,
        facts: &facts,
        spectra: &spectra,
        tables: &tables,
        notes: SCRIPT,
    };
    let page = render_adapter(&report).unwrap();
    assert_eq!(page.matches("<svg").count(), 2);
    assert!(page.contains("q_proj") && page.contains("<th>layer</th>"), "{page}");
    assert!(!page.contains("<script") && !page.contains("http://"), "{page}");
    assert_eq!(page.matches("&lt;script&gt;").count(), 5, "{page}");

    // What there is nothing of has no heading.
    let bare = render_adapter(&AdapterReport { title: "a", ..AdapterReport::default() }).unwrap();
    assert!(!bare.contains("<h2>") && bare.ends_with("</html>\n"), "{bare}");
}
