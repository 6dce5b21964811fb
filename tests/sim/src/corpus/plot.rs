//! The reliability plot, as a picture of our own few lines.

use std::fmt::Write as _;

use super::score::Reliability;

/// The side of the square that the unit interval is drawn on, and the margin around it.
const SIDE: f64 = 360.0;
const MARGIN: f64 = 50.0;

/// Draws several reliabilities into one square: said against true, the diagonal is honesty.
pub(super) fn draw(title: &str, curves: &[(&str, &str, &Reliability)]) -> String {
    let all = SIDE + 2.0 * MARGIN;
    let x = |value: f64| MARGIN + SIDE * value;
    let y = |value: f64| MARGIN + SIDE * (1.0 - value);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {all} {all}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{all}\" height=\"{all}\" fill=\"white\"/>\n\
         <text x=\"{MARGIN}\" y=\"20\">{title}</text>\n"
    );
    let mut add = |line: String| writeln!(svg, "{line}").expect("a string takes everything");
    for step in 0..=5_u8 {
        let value = f64::from(step) / 5.0;
        let (at, top, bottom) = (x(value), y(1.0), y(0.0));
        add(format!("<path d=\"M{at} {top}V{bottom}\" stroke=\"#ddd\"/>"));
        add(format!("<path d=\"M{} {}H{}\" stroke=\"#ddd\"/>", x(0.0), y(value), x(1.0)));
        add(format!(
            "<text x=\"{at}\" y=\"{}\" text-anchor=\"middle\">{value}</text>",
            bottom + 16.0
        ));
        let left = x(0.0) - 6.0;
        add(format!(
            "<text x=\"{left}\" y=\"{}\" text-anchor=\"end\">{value}</text>",
            y(value) + 4.0
        ));
    }
    let (left, right, low, high) = (x(0.0), x(1.0), y(0.0), y(1.0));
    add(format!("<path d=\"M{left} {low}L{right} {high}\" stroke=\"#888\" fill=\"none\"/>"));
    let (middle, foot) = (x(0.5), low + 34.0);
    add(format!("<text x=\"{middle}\" y=\"{foot}\" text-anchor=\"middle\">confidence</text>"));
    for (row, (name, colour, reliability)) in (0_u8..).zip(curves) {
        for bin in &reliability.bins {
            let radius = 2.0 + 12.0 * bin.mass.sqrt();
            add(format!(
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\" fill=\"{colour}\" \
                 fill-opacity=\"0.6\"/>",
                x(bin.confidence),
                y(bin.accuracy)
            ));
        }
        let at = high + 14.0 + 16.0 * f64::from(row);
        let error = reliability.error();
        add(format!(
            "<text x=\"{}\" y=\"{at}\" fill=\"{colour}\">{name}: ECE {error:.3}</text>",
            left + 8.0
        ));
    }
    svg + "</svg>\n"
}
