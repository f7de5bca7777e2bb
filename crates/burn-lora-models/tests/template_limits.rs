//! Chat templates made to fill memory, the stack or an hour: each ends in its text or in an error, and within its limits. The allocator
//! counts what is alive, and every template runs on a stack of one MiB.

use burn_lora_counting::{Counting, most_of_thread};
use burn_lora_models::conversation::Message;
use burn_lora_models::template::{ChatTemplate, Limits, TemplateError};

#[global_allocator]
static COUNTING: Counting = Counting;

/// What a template comes to on a small stack, and the most bytes that were alive meanwhile.
fn run(source: &str, limits: Limits) -> (Result<String, TemplateError>, usize) {
    let source = source.to_owned();
    let run = move || {
        let messages = [Message::new("user", "hello"), Message::new("assistant", "hi")];
        ChatTemplate::parse(&source)
            .and_then(|template| template.with_limits(limits).render(&messages, false))
    };
    let thread = std::thread::Builder::new().stack_size(1 << 20);
    thread.spawn(move || most_of_thread(run)).unwrap().join().unwrap()
}

/// That each template goes beyond a limit, and what it takes does not.
fn check_refused(sources: &[String], limits: Limits) {
    let limit = |error: &TemplateError| {
        matches!(
            error,
            TemplateError::TooMuchMemory { .. }
                | TemplateError::TooManySteps { .. }
                | TemplateError::TooDeep { .. }
                | TemplateError::TooMuchOutput { .. }
        )
    };
    let wrong: Vec<_> = sources
        .iter()
        .filter_map(|source| match refused(source, limits) {
            Err(wrong) => Some(wrong),
            Ok(error) if limit(&error) || error.to_string().contains("nested deeper than") => None,
            Ok(error) => Some(format!("{source}: {error:?}")),
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs a template that goes beyond a limit.
fn refused(source: &str, limits: Limits) -> Result<TemplateError, String> {
    let shown: String = source.chars().take(120).collect();
    let (result, most) = run(source, limits);
    // What the engine holds, twice for what is copied while it grows, and the tree of the longest source.
    let bound = 2 * Limits::default().memory + (48 << 20);
    match result {
        _ if most > bound => Err(format!("{shown}: {most} bytes were alive")),
        Ok(text) => Err(format!("{shown}: {} bytes were written", text.len())),
        Err(error) => Ok(error),
    }
}

#[test]
fn no_single_step_makes_more_than_the_limit() {
    let sources = [
        "{{ [0] * 1000000000 }}",
        "{{ (0,) * 1000000000 }}",
        "{{ 'a' * 10**12 }}",
        "{{ 10**12 * 'ab' }}",
        "{{ ['a' * 1000000] * 1000000 }}",
        "{{ '%4000000000d' | format(1) }}",
        "{{ '%*d' % (4000000000, 1) }}",
        "{{ '%.999999999d' % 1 }}",
        "{{ '%999999999s' % 'a' }}",
        "{{ '%0999999999d' % -1 }}",
        "{{ '{:>1000000000}'.format('a') }}",
        "{{ '{:{w}}'.format('a', w=10**9) }}",
        "{{ '{:0999999999d}'.format(7) }}",
        "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
        "{{ ('a' * 1000000) | replace('a', 'b' * 1000000) }}",
        "{{ ('a' * 1000000) | replace('', 'b' * 1000) }}",
        "{{ [1] | batch(1000000000, 'x') | list }}",
        "{{ [1] | slice(1000000000, 'x') | list }}",
        "{{ 'x' | indent(10**9, true) }}",
        "{{ 'a\nb' | indent('x' * 40000000) }}",
        "{{ 'x' | center(10**10) }}",
        "{{ 'x'.center(10**10) }}",
        "{{ 'x'.ljust(10**10) }}",
        "{{ 'x'.rjust(10**10, 'é') }}",
        "{{ 'x'.zfill(10**10) }}",
        "{{ '\t'.expandtabs(10**10) }}",
        "{{ range(10**9) }}",
        "{{ range(10**30) | list }}",
        "{{ range(0, 0 - 10**12, -1) | length }}",
        "{{ [1, 2] | tojson(indent=10**9) }}",
        "{{ [[1]] | tojson(indent='x' * 40000000) }}",
        "{{ ('x' * 1000000).join(range(1000) | map('string')) }}",
        "{{ range(1000) | join('x' * 1000000) }}",
        "{{ ('a ' * 2000000).split() }}",
        "{{ ('a' * 4000000) | list }}",
        "{{ ('\n' * 4000000).splitlines() }}",
        "{{ ('<' * 20000000) | escape }}",
        "{{ ('é' * 10000000) | urlencode }}",
        "{{ ('\\x01' * 20000000) | tojson }}",
        "{{ dict(range(1000000) | map('string') | batch(2)) }}",
        "{{ ('%s' * 1000000) % (('a' * 1000000,) * 1000000) }}",
        "{{ strftime_now('%A' * 10**9) }}",
    ];
    check_refused(&sources.map(str::to_owned), Limits::default());
}

#[test]
fn what_grows_step_by_step_comes_to_a_limit() {
    let twice = |start: &str, again: &str| {
        format!(
            "{{% set ns = namespace(x={start}) %}}{{% for i in range(60) %}}{{% set ns.x = {again} %}}{{% endfor %}}{{{{ ns.x | length }}}}"
        )
    };
    let mut sources = vec![
        twice("'a'", "ns.x + ns.x"),
        twice("'a'", "ns.x ~ ns.x"),
        twice("'a'", "[ns.x, ns.x] | join"),
        twice("'a'", "'%s%s' % (ns.x, ns.x)"),
        twice("'a'", "'{0}{0}'.format(ns.x)"),
        twice("'a'", "ns.x | replace('a', 'aa')"),
        twice("[1]", "ns.x + ns.x"),
        twice("(1,)", "ns.x * 2"),
        twice("['a']", "[ns.x | string]"),
        // Small in memory, but long when it is written or compared.
        twice("[1]", "[ns.x, ns.x]").replace("ns.x | length", "ns.x"),
        twice("[1]", "[ns.x, ns.x]").replace("ns.x | length", "ns.x | tojson"),
        twice("{'a': 1}", "dict(a=ns.x, b=ns.x)").replace("ns.x | length", "ns.x == ns.x"),
    ];
    sources.extend(
        [
            "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set x %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = x %}{% endfor %}",
            "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% else %}a{% endif %}{% endmacro %}{{ m(60) }}",
            "{% macro m(n) %}{% for i in range(9999) %}{{ m(n) }}{% endfor %}{% endmacro %}{{ m(1) }}",
            "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
            "{% for n in [1] recursive %}{{ loop([n, n]) }}{% endfor %}",
            "{% macro w() %}{{ caller() }}{{ caller() }}{% endmacro %}{% macro r() %}{% call w() %}{{ r() }}{% endcall %}{% endmacro %}{{ r() }}",
            "{% set ns = namespace(f='') %}{% for i in range(1000000) %}{% set g = ns.f %}{% macro f() %}{{ g() }}{% endmacro %}{% set ns.f = f %}{% endfor %}{{ ns.f() }}",
            "{% set ns = namespace(x=[]) %}{% for i in range(1000000) %}{% set ns.x = [ns.x] %}{% endfor %}",
            "{% set ns = namespace(x='') %}{% for i in range(1000000) %}{% set ns.x = dict(a=ns.x) %}{% endfor %}",
            "{% set ns = namespace(x=none) %}{% for i in range(100000) %}{% set m = namespace(x=ns.x) %}{% set ns.x = [m, m, m, m, m, m, m, m, m] %}{% endfor %}{{ range(10**8) | length }}",
            "{% set a = range(30000) | list %}{{ a | map('string') | unique | list | length }}",
            "{% set a = range(100000) | list %}{% for i in range(100000) %}{% if a == a + [] %}{% endif %}{% endfor %}",
            "{% set a = 'a' * 10000000 %}{% set b = a ~ '' %}{% for i in range(100000) %}{% if a == b %}{% endif %}{% endfor %}",
            "{% set a = 'a' * 10000000 %}{% for i in range(100000) %}{% if 'b' in a %}{% endif %}{% endfor %}",
            "{% set a = 'a' * 10000000 %}{% for i in range(100000) %}{{ a[9999999] }}{{ a | length }}{% endfor %}",
            "{% set a = 'a' * 10000000 %}{% for i in range(100000) %}{% set b = {a: 1}[a] %}{% endfor %}",
            "{% set a = 'a' * 10000000 %}{% for i in range(100000) %}{% set b = a.upper() %}{% set b = a.strip() %}{% endfor %}",
            "{% set a = range(100000) | list %}{% for i in range(100000) %}{% set b = a | sort %}{% endfor %}",
            "{% set a = range(100000) | list %}{% for i in range(100000) %}{% for x in a %}{% break %}{% endfor %}{% set b = a[::-1] %}{% endfor %}",
            "{% set a = [''] * 1900000 %}{% for i in range(100000) %}{% set b = a | join %}{% endfor %}",
            "{% set a = [''] * 1900000 %}{% for i in range(100000) %}{% set b = ''.join(a) %}{% endfor %}",
            "{% set a = [0] * 1900000 %}{% for i in range(100000) %}{% set b = a | sum %}{% endfor %}",
            "{% set a = [0] * 1900000 %}{% for i in range(100000) %}{% set b = a | select | list %}{% endfor %}",
            "{% set a = [0] * 1900000 %}{% for i in range(100000) %}{% set b = a | reject('defined') | list %}{% endfor %}",
            "{% set a = 'a' * 10000000 %}{% set b = [a] * 100000 %}{% set c = b | sort %}",
            "{% set a = 'a' * 10000000 %}{% set b = [a] * 1000000 %}{% set c = b | map('int') | list %}",
            "{% set a = 'a' * 10000000 %}{% set b = (a ~ 'b',) * 1000000 %}{% set c = (a ~ 'c').startswith(b) %}",
            "{% set a = 'a' * 10000000 %}{% for i in range(100000) %}{% set b = a | float %}{% endfor %}",
            "{% set a = 'a' * 10000000 %}{% for i in range(100000) %}{% set b = a.strip(a) %}{% endfor %}",
            "{% set a = '%%' * 5000000 %}{% for i in range(100000) %}{% set b = a % () %}{% endfor %}",
            "{% set a = '{0}' * 1000000 %}{% for i in range(100000) %}{% set b = a.format(1) %}{% endfor %}",
            "{% for i in range(1000000) %}{% set b = '%.400f' % 1e300 %}{% endfor %}",
            "{% for i in range(1000000) %}{% set b = 1e300 | round(300) %}{% endfor %}",
            "{% for n in [1] recursive %}{{ loop([1, 2]) if loop.depth < 60 }}{% endfor %}",
            "{% macro m(n) %}{% for i in range(n) %}{{ m(n - 1) }}{% endfor %}{% endmacro %}{{ m(60) }}",
            "{% set ns = namespace(x=[]) %}{% for i in range(1000000) %}{% set ns.x = ns.x + [i] %}{% endfor %}",
            "{% set ns = namespace(x={}) %}{% for i in range(1000000) %}{% set ns.x = dict(ns.x, **{i | string: i}) %}{% endfor %}",
            "{% set ns = namespace(x='') %}{% for i in range(1000000) %}{% set ns.x = (ns.x ~ i).replace('1', '22') %}{% endfor %}",
        ]
        .map(str::to_owned),
    );
    // Many names at once: of parameters, of arguments, of variables.
    let many = |from: &str, between: &str| {
        (0..9000).map(|at| from.replace('#', &at.to_string())).collect::<Vec<_>>().join(between)
    };
    sources.extend([
        format!(
            "{{% macro m({}) %}}{{% endmacro %}}{{% for i in range(1000000) %}}{{{{ m({}) }}}}{{% endfor %}}",
            many("a#", ","),
            many("a#=1", ",")
        ),
        format!(
            "{{% for i in range(1000000) %}}{{% set x = ('{{a0}}' * 100000).format({}) %}}{{% endfor %}}",
            many("b#=1", ",") + ",a0=1"
        ),
        format!("{{% set x = [1] * 1000000 | reject('defined', {}) | list %}}", many("#", ",")).replace("[1] * 1000000", "([1] * 1000000)"),
        format!("{}{{% for i in range(1000000) %}}{{{{ zzz }}}}{{% endfor %}}", many("{% set a# = 1 %}", "")),
        format!(
            "{}{{% for i in range(1000000) %}}{{{{ zzz }}}}{{% endfor %}}{}",
            "{% with a = 1 %}".repeat(90),
            "{% endwith %}".repeat(90)
        ),
    ]);
    // Fewer steps than usual: they are a bound whatever their number.
    check_refused(&sources, Limits { steps: 1_000_000, ..Limits::default() });
}

#[test]
fn a_long_chain_takes_no_more_stack_than_a_short_one() {
    let chain = |first: &str, link: &str, last: &str| {
        format!("{first}{}{last}", link.repeat(200_000 / link.len()))
    };
    for (source, written) in [
        (chain("{{ ", "-", "1 }}"), Some("1")),
        (chain("{{ ", "+", "1 }}"), Some("1")),
        (chain("{{ ", "not ", "1 }}"), Some("True")),
        (chain("{{ 1", "+1", " }}"), Some("100001")),
        (chain("{{ 1", " and 1", " }}"), Some("1")),
        (chain("{{ 0", " or 0", " }}"), Some("0")),
        (chain("{{ 'a'", "|upper", " }}"), Some("A")),
        (chain("{{ 'a'", " 'a'", " | length }}"), Some("50001")),
        (chain("{{ ('a'", "~'a'", ") | length }}"), Some("50001")),
        (chain("{{ 1", "**1", " }}"), Some("1")),
        (chain("{{ 1", "==1", " }}"), Some("True")),
        (chain("{{ 1", " if 1 else 1", " }}"), Some("1")),
        (chain("{{ {'a': 1}", ".a", " is defined }}"), None),
        (chain("{{ [1]", "[0:]", " }}"), Some("[1]")),
        (chain("{% if 0 %}", "{% elif 0 %}", "{% else %}a{% endif %}"), Some("a")),
        (chain("{{ ", "(", ""), None),
        (chain("{{ ", "[", ""), None),
        (chain("{{ ", "{1:", ""), None),
        (chain("", "{% if 1 %}", ""), None),
        (chain("", "{% for a in b %}", ""), None),
        (chain("{{ x", "(", ""), None),
        (chain("{{ x", "[", ""), None),
        (chain("{{ 1", " is in(", ""), None),
        (chain("{% for ", "(", ""), None),
    ] {
        let shown: String = source.chars().take(40).collect();
        let (result, most) = run(&source, Limits::default());
        assert!(most <= 64 << 20, "{shown}: {most} bytes were alive");
        match (result, written) {
            (Ok(text), Some(written)) => assert_eq!(text, written, "{shown}"),
            (Err(_), None) => {}
            (result, _) => panic!("{shown}: {result:?}"),
        }
    }
}

#[test]
fn what_is_allowed_to_be_deep_fits_a_small_stack() {
    let nested = |open: &str, inner: &str, close: &str| {
        format!("{}{inner}{}", open.repeat(95), close.repeat(95))
    };
    for source in [
        format!("{{{{ {} }}}}", nested("(", "1", ")")),
        format!("{{{{ {} }}}}", nested("[", "1", "]")),
        format!("{{{{ {} }}}}", nested("x(", "1", ")")),
        format!("{{{{ {} }}}}", nested("{1:", "1", "}")),
        nested("{% if 1 %}", "a", "{% endif %}"),
        nested("{% for a in [1] %}", "a", "{% endfor %}"),
        nested("{% set a %}", "a", "{% endset %}"),
        "{% macro m(n) %}{% if n %}{{ m([n - 1, [1]][0]) }}{% endif %}{% endmacro %}{{ m(60) }}".to_owned(),
        "{% macro m(n) %}{{ m(n) }}{% endmacro %}{{ m(1) }}".to_owned(),
        "{% for n in [1] recursive %}{{ loop([n]) }}{% endfor %}".to_owned(),
        "{% set ns = namespace(x=[]) %}{% for i in range(190) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}{{ ns.x | tojson }}{{ ns.x == [ns.x] }}".to_owned(),
    ] {
        // The stack is what is tested: whether it comes to a text or an error does not matter.
        let (_, most) = run(&source, Limits::default());
        assert!(most <= 64 << 20, "{source}: {most} bytes were alive");
    }
}

/// What walks through a value takes steps by its size, whatever it is called: one step for a text of a million letters, again and
/// again, once took hours that no limit saw.
#[test]
fn whatever_walks_through_a_value_is_charged_for_it() {
    // A text of four million letters and a list of a hundred thousand items are given, and cost nothing themselves.
    let text = serde_json::Value::from("aé".repeat(2_000_000));
    let blank = serde_json::Value::from("\n \t".repeat(1_500_000));
    let list = serde_json::Value::from(vec![0; 100_000]);
    let texts = serde_json::Value::from(vec![""; 100_000]);
    let limits = Limits { steps: 40_000, ..Limits::default() };
    let of_texts = [
        "t.upper()",
        "t.lower()",
        "t.casefold()",
        "t.swapcase()",
        "t.capitalize()",
        "t.title()",
        "t.strip('a')",
        "t.center(3)",
        "t.zfill(3)",
        "t.expandtabs()",
        "t.replace('a', '')",
        "t.replace('', '')",
        "t.replace('z', '')",
        "t.split()",
        "t.split('a')",
        "t.rsplit('z')",
        "t.splitlines()",
        "t.partition('z')",
        "t.rpartition('z')",
        "t.find('z')",
        "t.rfind('z')",
        "t.count('a')",
        "t.count('')",
        "t.find('z', 1)",
        "t.isalpha()",
        "t.isprintable()",
        "t.islower()",
        "t.istitle()",
        "t.isidentifier()",
        "t.isspace()",
        "t.format()",
        "t.join(['', ''])",
        "t.startswith((t, t))",
        "t.endswith(t ~ '')",
        "b.strip()",
        "b.lstrip()",
        "b.rstrip()",
        "b.isspace()",
        "b.split()",
        "b | trim",
        "b | indent",
        "t | upper",
        "t | capitalize",
        "t | title",
        "t | replace('z', '')",
        "t | center(3)",
        "t | indent",
        "t | truncate(5)",
        "t | format",
        "t | wordcount",
        "t | urlencode",
        "t | striptags",
        "t | escape",
        "t | forceescape",
        "t | int",
        "t | float",
        "t | length",
        "t | list",
        "t | reverse",
        "t | tojson",
        "[t] | string",
        "[t] | tojson",
        "{t: 1} | tojson",
        "{'a': t} | string",
        "[t, 'a'] | sort",
        "[t, 'a'] | unique | list",
        "[t, 'a'] | min",
        "[{'k': t}] | groupby('k')",
        "{'a': t} | dictsort(by='value')",
        "[{}] | map(attribute=t) | list",
        "t is lower",
        "t is upper",
        "t is in(t ~ '')",
        "'z' in t",
        "t == t ~ ''",
        "t < t ~ 'a'",
        "t[5]",
        "t[-1]",
        "t[1:]",
        "t[::2]",
        "t ~ ''",
        "t + 'a'",
        "t % ()",
        "'%s' % t",
        "'%r' % t",
        "'%.3s' % t",
        "'{}'.format(t)",
        "'{!r}'.format(t)",
        "'{:.3}'.format(t)",
        "{t: 1}[t ~ '']",
        "'a'.strip(t)",
        "t in {t ~ '': 1}",
        "dict([[t, 1]]) | string",
        "range(2) | join(t)",
    ];
    let of_lists = [
        "l | list",
        "l | reverse",
        "l | join",
        "s | join",
        "s | join('')",
        "''.join(s)",
        "l | map('default', 1) | list",
        "l | map(attribute='a') | list",
        "l | select | list",
        "s | reject | list",
        "l | reject('defined') | list",
        "l | select('eq', 1) | list",
        "l | selectattr('a') | list",
        "l | rejectattr('a', 'defined') | list",
        "l | sort",
        "l | sort(attribute='a')",
        "l | min",
        "l | max",
        "l | sum",
        "l | unique | list",
        "s | unique | list",
        "l | groupby('a')",
        "l | batch(3) | list",
        "l | slice(3) | list",
        "l | string",
        "l | tojson",
        "5 in l",
        "l.count(5)",
        "l.index(5)",
        "l.copy()",
        "l[1:]",
        "l[::-1]",
        "l + []",
        "l * 2",
        "l == l + []",
        "l < l",
        "dict.fromkeys(s)",
        "'%s' % l",
        "'a'.startswith(('z',) * 100000)",
        "(1,) * 100000",
        "l | last ~ l",
        "l is eq(l + [])",
        "'{}'.format(l)",
        "(s | map('upper') | list)",
    ];
    let run = |expression: &str| {
        let source = format!(
            "{{% set t = text %}}{{% set b = blank %}}{{% set l = list %}}{{% set s = texts %}}{{% set x = {expression} %}}"
        );
        let template = ChatTemplate::parse(&source).unwrap().with_limits(limits);
        let template = template.with_variable("text", &text).with_variable("blank", &blank);
        let template = template.with_variable("list", &list).with_variable("texts", &texts);
        template.render(&[Message::new("user", "hello")], false)
    };
    let free: Vec<&str> = of_texts
        .into_iter()
        .chain(of_lists)
        .filter(|expression| {
            let done = run(expression);
            !matches!(
                done,
                Err(TemplateError::TooManySteps { .. } | TemplateError::TooMuchMemory { .. })
            )
        })
        .collect();
    assert_eq!(free, <[&str; 0]>::default(), "cost next to nothing, or fail otherwise");
}
