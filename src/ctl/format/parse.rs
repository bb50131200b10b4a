//! Reads the part of Go's template language that docker's users write.

use super::BadTemplate;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Print(Pipe),
    /// `{{$x := pipe}}`.
    Set(String, Pipe),
    If {
        arms: Vec<(Pipe, Vec<Self>)>,
        otherwise: Vec<Self>,
    },
    With {
        pipe: Pipe,
        body: Vec<Self>,
        otherwise: Vec<Self>,
    },
    Range {
        index: Option<String>,
        item: Option<String>,
        pipe: Pipe,
        body: Vec<Self>,
        otherwise: Vec<Self>,
    },
}

/// Calls joined by `|`; each hands its value on as the last argument of the next.
pub(super) type Pipe = Vec<Call>;
/// A function or value and its arguments.
pub(super) type Call = Vec<Operand>;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    /// `.`, `.A.B`.
    Field(Vec<String>),
    /// `$`, `$x`, `$x.A`; the name without the `$`.
    Variable(String, Vec<String>),
    Text(String),
    Int(i64),
    Bool(bool),
    Nil,
    Function(String),
    /// `(pipe)`, `(pipe).A`.
    Group(Pipe, Vec<String>),
}

/// Actions may nest this deep; a template comes from a command line, but a stack is a stack.
const DEPTH: usize = 64;

pub(super) fn parse(text: &str) -> Result<Vec<Node>, BadTemplate> {
    let pieces = split(text)?;
    let mut reader = Reader { pieces: pieces.into_iter().peekable(), depth: 0 };
    let (nodes, end) = reader.nodes()?;
    match end {
        None => Ok(nodes),
        Some(word) => Err(bad(format!("unexpected {{{{{}}}}}", word.name()))),
    }
}

fn bad(why: impl Into<String>) -> BadTemplate {
    BadTemplate(why.into())
}

enum Piece {
    Text(String),
    Action(Vec<Token>),
}

/// Cuts the template at its actions; `{{-` and `-}}` eat the white space on their side.
fn split(text: &str) -> Result<Vec<Piece>, BadTemplate> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    loop {
        let (before, after) = match rest.split_once("{{") {
            Some((before, after)) => (before, Some(after)),
            None => (rest, None),
        };
        let before = if trim_next { before.trim_start() } else { before };
        let trims = after.is_some_and(|a| a.starts_with("- "));
        let before = if trims { before.trim_end() } else { before };
        if !before.is_empty() {
            pieces.push(Piece::Text(before.replace("\\t", "\t").replace("\\n", "\n")));
        }
        let Some(after) = after else { return Ok(pieces) };
        let after = if trims { &after[1..] } else { after };
        if let Some(comment) = after.trim_start().strip_prefix("/*") {
            let (_, behind) = comment.split_once("*/").ok_or_else(|| bad("unclosed comment"))?;
            let (_, behind) = behind.split_once("}}").ok_or_else(|| bad("unclosed action"))?;
            trim_next = false;
            rest = behind;
            continue;
        }
        let (tokens, behind, trim) = tokens(after)?;
        pieces.push(Piece::Action(tokens));
        trim_next = trim;
        rest = behind;
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    /// The names after a dot: `.A.B`; empty for `.` alone.
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Text(String),
    Int(i64),
    Open,
    /// `)`, or `).A.B`.
    Close(Vec<String>),
    Bar,
    Comma,
    Assign,
}

/// Reads the tokens up to `}}`; gives what lies behind, and whether its white space is to be trimmed.
fn tokens(text: &str) -> Result<(Vec<Token>, &str, bool), BadTemplate> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let spaced = rest.starts_with([' ', '\t', '\n', '\r']);
        rest = rest.trim_start();
        if let Some(behind) = rest.strip_prefix("}}") {
            return Ok((found, behind, false));
        }
        if spaced && let Some(behind) = rest.strip_prefix("-}}") {
            return Ok((found, behind, true));
        }
        let Some(first) = rest.chars().next() else { return Err(bad("unclosed action")) };
        let (token, behind) = match first {
            '"' => quoted(rest)?,
            '`' => {
                let (raw, behind) =
                    rest[1..].split_once('`').ok_or_else(|| bad("unterminated raw string"))?;
                (Token::Text(raw.to_owned()), behind)
            }
            '(' => (Token::Open, &rest[1..]),
            ')' => {
                let (names, behind) = names(&rest[1..]);
                (Token::Close(names), behind)
            }
            '|' => (Token::Bar, &rest[1..]),
            ',' => (Token::Comma, &rest[1..]),
            ':' if rest.starts_with(":=") => (Token::Assign, &rest[2..]),
            '.' => {
                let (names, behind) = names(rest);
                let behind = if names.is_empty() { &rest[1..] } else { behind };
                (Token::Field(names), behind)
            }
            '$' => {
                let (name, behind) = word(&rest[1..]);
                let (names, behind) = names(behind);
                (Token::Variable(name.to_owned(), names), behind)
            }
            c if c == '-' || c.is_ascii_digit() => {
                let end =
                    rest[1..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |at| at + 1);
                let number = rest[..end]
                    .parse()
                    .map_err(|_| bad(format!("bad number syntax: {:?}", &rest[..end])))?;
                (Token::Int(number), &rest[end..])
            }
            c if c.is_alphabetic() || c == '_' => {
                let (name, behind) = word(rest);
                (Token::Word(name.to_owned()), behind)
            }
            c => return Err(bad(format!("unexpected {c:?} in an action"))),
        };
        found.push(token);
        rest = behind;
    }
}

fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    text.split_at(end)
}

/// Reads `.A.B`.
fn names(text: &str) -> (Vec<String>, &str) {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(after) = rest.strip_prefix('.') {
        let (name, behind) = word(after);
        if name.is_empty() {
            break;
        }
        found.push(name.to_owned());
        rest = behind;
    }
    (found, rest)
}

fn quoted(text: &str) -> Result<(Token, &str), BadTemplate> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Token::Text(value), &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, c @ ('"' | '\\' | '\''))) => value.push(c),
                _ => return Err(bad("unknown escape in a string")),
            },
            c => value.push(c),
        }
    }
    Err(bad("unterminated quoted string"))
}

/// What closes or continues a block.
enum End {
    Close,
    Else,
    ElseIf(Vec<Token>),
}

impl End {
    fn name(&self) -> &'static str {
        match self {
            Self::Close => "end",
            Self::Else | Self::ElseIf(_) => "else",
        }
    }
}

struct Reader {
    pieces: std::iter::Peekable<std::vec::IntoIter<Piece>>,
    depth: usize,
}

impl Reader {
    fn nodes(&mut self) -> Result<(Vec<Node>, Option<End>), BadTemplate> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(bad("blocks nest too deeply"));
        }
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let tokens = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(tokens) => tokens,
            };
            let keyword = match tokens.first() {
                Some(Token::Word(word)) => word.as_str(),
                _ => "",
            };
            match keyword {
                "end" => {
                    self.depth -= 1;
                    return Ok((nodes, Some(End::Close)));
                }
                "else" => {
                    self.depth -= 1;
                    return Ok((
                        nodes,
                        Some(match tokens.get(1) {
                            None => End::Else,
                            Some(Token::Word(word)) if word == "if" => {
                                End::ElseIf(tokens[2..].to_vec())
                            }
                            Some(_) => return Err(bad("unexpected words after else")),
                        }),
                    ));
                }
                "if" => nodes.push(self.conditional(&tokens[1..])?),
                "with" => {
                    let pipe = pipe(&tokens[1..])?;
                    let (body, otherwise) = self.block("with")?;
                    nodes.push(Node::With { pipe, body, otherwise });
                }
                "range" => nodes.push(self.range(&tokens[1..])?),
                _ => nodes.push(match tokens.as_slice() {
                    [Token::Variable(name, names), Token::Assign, value @ ..]
                        if names.is_empty() =>
                    {
                        Node::Set(name.clone(), pipe(value)?)
                    }
                    _ => Node::Print(pipe(&tokens)?),
                }),
            }
        }
        self.depth -= 1;
        Ok((nodes, None))
    }

    fn conditional(&mut self, condition: &[Token]) -> Result<Node, BadTemplate> {
        let mut arms = Vec::new();
        let mut condition = pipe(condition)?;
        loop {
            let (body, end) = self.nodes()?;
            arms.push((condition, body));
            match end {
                None => return Err(bad("{{if}} without {{end}}")),
                Some(End::Close) => return Ok(Node::If { arms, otherwise: Vec::new() }),
                Some(End::ElseIf(next)) => condition = pipe(&next)?,
                Some(End::Else) => match self.nodes()? {
                    (otherwise, Some(End::Close)) => return Ok(Node::If { arms, otherwise }),
                    _ => return Err(bad("{{else}} without {{end}}")),
                },
            }
        }
    }

    fn range(&mut self, tokens: &[Token]) -> Result<Node, BadTemplate> {
        let (index, item, value) = match tokens {
            [
                Token::Variable(k, _),
                Token::Comma,
                Token::Variable(v, _),
                Token::Assign,
                rest @ ..,
            ] => (Some(k.clone()), Some(v.clone()), rest),
            [Token::Variable(v, _), Token::Assign, rest @ ..] => (None, Some(v.clone()), rest),
            rest => (None, None, rest),
        };
        let pipe = pipe(value)?;
        let (body, otherwise) = self.block("range")?;
        Ok(Node::Range { index, item, pipe, body, otherwise })
    }

    fn block(&mut self, what: &str) -> Result<(Vec<Node>, Vec<Node>), BadTemplate> {
        let (body, end) = self.nodes()?;
        match end {
            Some(End::Close) => Ok((body, Vec::new())),
            Some(End::Else) => match self.nodes()? {
                (otherwise, Some(End::Close)) => Ok((body, otherwise)),
                _ => Err(bad("{{else}} without {{end}}")),
            },
            Some(End::ElseIf(_)) => Err(bad(format!("{{{{else if}}}} in {{{{{what}}}}}"))),
            None => Err(bad(format!("{{{{{what}}}}} without {{{{end}}}}"))),
        }
    }
}

fn pipe(tokens: &[Token]) -> Result<Pipe, BadTemplate> {
    let mut rest = tokens.iter();
    let (calls, closed) = calls(&mut rest, 0)?;
    if closed.is_some() {
        return Err(bad("unexpected right paren"));
    }
    Ok(calls)
}

/// Reads calls up to the end or a closing parenthesis, whose field names it gives.
fn calls(
    rest: &mut std::slice::Iter<'_, Token>,
    depth: usize,
) -> Result<(Pipe, Option<Vec<String>>), BadTemplate> {
    if depth > DEPTH {
        return Err(bad("parentheses nest too deeply"));
    }
    let mut calls_found: Pipe = vec![Vec::new()];
    let mut closed = None;
    while let Some(token) = rest.next() {
        let call = calls_found.last_mut().expect("starts with one and only grows");
        match token {
            Token::Word(word) => call.push(match word.as_str() {
                "true" => Operand::Bool(true),
                "false" => Operand::Bool(false),
                "nil" => Operand::Nil,
                name => Operand::Function(name.to_owned()),
            }),
            Token::Field(names) => call.push(Operand::Field(names.clone())),
            Token::Variable(name, names) => {
                call.push(Operand::Variable(name.clone(), names.clone()));
            }
            Token::Text(text) => call.push(Operand::Text(text.clone())),
            Token::Int(number) => call.push(Operand::Int(*number)),
            Token::Open => match calls(rest, depth + 1)? {
                (inner, Some(names)) => call.push(Operand::Group(inner, names)),
                (_, None) => return Err(bad("unclosed left paren")),
            },
            Token::Close(names) => {
                closed = Some(names.clone());
                break;
            }
            Token::Bar => calls_found.push(Vec::new()),
            Token::Comma | Token::Assign => return Err(bad("unexpected ',' or ':='")),
        }
    }
    if calls_found.iter().any(Vec::is_empty) {
        return Err(bad("missing value for command"));
    }
    Ok((calls_found, closed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_fields_are_told_apart() {
        let nodes = parse(r"a\t{{.B.C}}").unwrap();
        assert_eq!(
            nodes,
            vec![
                Node::Text("a\t".into()),
                Node::Print(vec![vec![Operand::Field(vec!["B".into(), "C".into()])]])
            ]
        );
    }

    #[test]
    fn broken_templates_are_errors() {
        for text in [
            "{{",
            "{{.A",
            "{{}}",
            "{{ | json}}",
            "{{json . |}}",
            "{{end}}",
            "{{if .A}}",
            "{{else}}",
            "{{range .A}}{{else}}",
            "{{(.A}}",
            "{{.A)}}",
            "{{\"x}}",
            "{{`x}}",
            "{{%}}",
            "{{.A, .B}}",
            "{{/* x}}",
            "{{99999999999999999999}}",
            "{{\"\\q\"}}",
        ] {
            parse(text).expect_err(text);
        }
        parse(&"{{if .}}".repeat(5000)).unwrap_err();
        parse(&format!("{{{{{}", "(".repeat(5000))).unwrap_err();
    }
}
