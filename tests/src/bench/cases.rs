//! The list of cases.

use anyhow::{Result, bail};

use super::{
    case::{Case, Choice, Entry, Fresh},
    director::Director,
    harness::Harness,
    network::{DIRECTOR_MAC, ROUTER_MAC},
    output::{Output, XDP_REDIRECT},
    service::{
        self, BenchService, DR, DR6, FLOOR, GRE, GUE, IPIP, MASQ, MASQ6, NEW_DR, NEW_LBLC,
        NEW_MASQ, NEW_WLC, NOBODY,
    },
    walk::Template,
};
use crate::packet::flag;

/// A balancer that does nothing but drop, behind the harness: what the harness costs.
pub(super) const HARNESS: &str = "harness";
/// The same over IPv6.
pub(super) const HARNESS6: &str = "harness6";
/// `new_dr` once more, behind the longest list of match rules.
pub(super) const RULED: &str = "new_dr_10000_rules";
/// The empty run.
pub(super) const EMPTY: &str = "floor_drop";

/// All cases, in the order of the table.
pub(super) fn all(
    harness: &Harness,
    director: &Director,
    ruled: Option<&Director>,
) -> Result<Vec<Case>> {
    let mut cases = floors(harness)?;
    cases.extend(hits(director)?);
    cases.extend(new(director)?);
    if let Some(ruled) = ruled {
        let template = Template::request(NEW_DR, flag::SYN);
        cases.push(Case {
            choice: Choice::Next,
            fresh: Some(Fresh {
                next: 0,
                entry: Entry::RuledRing,
            }),
            ..Case::known(RULED, ruled.tx()?, template, Output::Direct)
        });
    }
    cases.push(Case::known(
        "not_ours",
        director.tx()?,
        Template::request(NOBODY, flag::ACK),
        Output::Pass,
    ));
    Ok(cases)
}

fn floors(harness: &Harness) -> Result<Vec<Case>> {
    let template = Template::request(FLOOR, flag::ACK);
    let floor = |name, output| Ok(Case::known(name, harness.fd(name)?, template, output));
    let by = |sender| Output::Readdressed { sender };
    [
        Ok(Case {
            name: HARNESS,
            ..Case::known(HARNESS, harness.fd(EMPTY)?, template, Output::Drop)
        }),
        Ok(Case::known(
            HARNESS6,
            harness.fd(EMPTY)?,
            Template::request(DR6, flag::ACK),
            Output::Drop,
        )),
        floor("floor_parse", Output::Unchanged),
        floor("floor_lru_rewrite", by(ROUTER_MAC)),
        Ok(Case {
            choice: Choice::Any,
            fresh: Some(Fresh {
                next: 0,
                entry: Entry::Floor,
            }),
            ..floor("floor_lru_insert", Output::Unchanged)?
        }),
        floor("lean_l2", by(DIRECTOR_MAC)),
        floor("lean_ipip", Output::Encapsulated { aged: 0 }),
    ]
    .into_iter()
    .collect()
}

fn hits(director: &Director) -> Result<[Case; 10]> {
    let hit = |name, service, output| {
        let template = Template::request(service, flag::ACK);
        Ok::<_, anyhow::Error>(Case::known(name, director.tx()?, template, output))
    };
    Ok([
        hit("dr_hit", DR, Output::Direct)?,
        hit("masq_in_hit", MASQ, Output::Translated)?,
        Case {
            template: Template::reply(MASQ, flag::ACK),
            ..hit("masq_out_hit", MASQ, Output::TranslatedBack)?
        },
        hit("ipip_hit", IPIP, Output::Encapsulated { aged: 1 })?,
        hit("gre_hit", GRE, Output::InGre)?,
        hit("gue_hit", GUE, Output::InGue)?,
        Case {
            program: director.redirect()?,
            verdict: Some(XDP_REDIRECT),
            ..hit("dr_hit_redirect", DR, Output::Direct)?
        },
        hit("dr6_hit", DR6, Output::Direct)?,
        hit("masq6_in_hit", MASQ6, Output::Translated)?,
        Case {
            template: Template::reply(MASQ6, flag::ACK),
            ..hit("masq6_out_hit", MASQ6, Output::TranslatedBack)?
        },
    ])
}

/// New connections. Masqueraded ones stand together, because each change of the kind costs a filling of the ring.
fn new(director: &Director) -> Result<Vec<Case>> {
    let new = |name, service: BenchService, output, choice| {
        let template = Template::request(service, flag::SYN);
        Ok(Case {
            choice,
            fresh: Some(Fresh {
                next: 0,
                entry: Entry::Ring(service.method()),
            }),
            ..Case::known(name, director.tx()?, template, output)
        })
    };
    let by_name = [
        new("new_dr", NEW_DR, Output::Direct, Choice::Next),
        new("new_dr_wlc", NEW_WLC, Output::Direct, Choice::Any),
        new("new_dr_lblc", NEW_LBLC, Output::Direct, Choice::Any),
    ];
    let by_scheduler = service::by_scheduler().map(|service| {
        // Names live as long as the report that they stand in, which is as long as the program.
        let name = format!("new_{}", service.label()).leak();
        let choice = if service.label().starts_with("rr_") {
            Choice::Next
        } else {
            Choice::Any
        };
        new(&*name, service, Output::Direct, choice)
    });
    let masq = service::masq_of_few();
    let masq = [
        new("new_masq", NEW_MASQ, Output::Translated, Choice::Next),
        new("new_masq_rr_3", masq, Output::Translated, Choice::Next),
    ];
    by_name
        .into_iter()
        .chain(by_scheduler)
        .chain(masq)
        .collect()
}

/// Services whose connections the cases want to be there.
pub(super) fn kept(cases: &[Case]) -> Vec<BenchService> {
    // The harnesses' packets meet no table.
    let of_director = || cases.iter().filter(|c| c.output != Output::Drop);
    let wants = |service: &BenchService| of_director().any(|c| c.template.service == *service);
    [DR, IPIP, GRE, GUE, MASQ, DR6, MASQ6]
        .into_iter()
        .filter(wants)
        .collect()
}

/// Whether a case is asked for: all are if none is named.
pub(super) fn is_wanted(name: &str, names: &[String], prefixes: &[String]) -> bool {
    let everything = names.is_empty() && prefixes.is_empty();
    everything || names.iter().any(|n| n == name) || prefixes.iter().any(|p| name.starts_with(p))
}

/// Keeps the cases of these names, and those whose names begin with a prefix; all if neither is given. The harnesses stay, for
/// they are taken off all others, that of IPv6 if there are any.
pub(super) fn choose(cases: &mut Vec<Case>, names: &[String], prefixes: &[String]) -> Result<()> {
    let known = |wanted: &dyn Fn(&Case) -> bool, what: String| {
        if cases.iter().any(wanted) {
            return Ok(());
        }
        let all: Vec<_> = cases.iter().map(|case| case.name).collect();
        bail!("no case {what}; there are {}", all.join(", "));
    };
    for name in names {
        known(&|case| case.name == *name, name.clone())?;
    }
    for prefix in prefixes {
        known(&|case| case.name.starts_with(prefix), format!("{prefix}…"))?;
    }
    let kept = |name: &str| [HARNESS, HARNESS6].contains(&name) || is_wanted(name, names, prefixes);
    cases.retain(|case| kept(case.name));
    let six = |case: &Case| case.template.service.six && case.name != HARNESS6;
    if !cases.iter().any(six) {
        cases.retain(|case| case.name != HARNESS6);
    }
    Ok(())
}
