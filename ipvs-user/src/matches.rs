//! `ipvsd matches`: lists the match rules. Knows the API's client, and nothing of what is behind it.

use std::fmt::Write as _;

use anyhow::Result;

use crate::api::{
    client::Client,
    wire::{Match, MatchRule, Protocol},
};

/// What to print.
pub async fn run(client: &Client) -> Result<String> {
    Ok(text(&client.matches().await?))
}

const HEADS: [&str; 6] = ["mark", "to", "protocol", "ports", "from", "interface"];

/// A line for each rule, in their order, under heads.
fn text(rules: &[Match]) -> String {
    let rows = rules.iter().map(|m| cells(&m.rule));
    let rows: Vec<_> = std::iter::once(HEADS.map(str::to_owned))
        .chain(rows)
        .collect();
    let widths: Vec<usize> = (0..HEADS.len())
        .map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    let idle = rules.iter().map(|m| m.idle.as_deref());
    let mut text = String::new();
    for (row, idle) in rows.iter().zip(std::iter::once(None).chain(idle)) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a string cannot fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        if let Some(idle) = idle {
            let _ = write!(line, "({idle})");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn cells(rule: &MatchRule) -> [String; 6] {
    let any = || "any".to_owned();
    let ports = if rule.ports.is_empty() {
        any()
    } else {
        rule.ports.join(",")
    };
    let protocol = rule.protocol.map_or_else(any, |protocol| {
        let name = match protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        name.to_owned()
    });
    [
        rule.mark.to_string(),
        rule.to.clone(),
        protocol,
        ports,
        rule.from.clone().unwrap_or_else(any),
        rule.interface.clone().unwrap_or_else(any),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_stand_in_columns_with_why_they_do_nothing() {
        let rule = |text: &str| -> MatchRule { serde_json::from_str(text).unwrap() };
        let rules = [
            Match {
                rule: rule(
                    r#"{"mark": 7, "to": "0.0.0.0/0", "ports": ["80", "8000-8099"], "protocol": "tcp"}"#,
                ),
                idle: None,
            },
            Match {
                rule: rule(
                    r#"{"mark": 8, "to": "::/0", "from": "2001:db8::/32", "interface": "eth7"}"#,
                ),
                idle: Some("there is no interface eth7".to_owned()),
            },
        ];
        assert_eq!(
            text(&rules),
            "mark  to         protocol  ports         from           interface\n\
             7     0.0.0.0/0  tcp       80,8000-8099  any            any\n\
             8     ::/0       any       any           2001:db8::/32  eth7       (there is no interface eth7)\n"
        );
    }
}
