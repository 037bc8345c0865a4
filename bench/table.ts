import { median, ratios, spreadOf, type Spread } from './rounds.js'

/** One line of the table. */
export interface Row {
  readonly measure: string
  readonly ours: string
  readonly against: string
  readonly result: string
  readonly goal?: Goal | undefined
  readonly reached?: boolean | undefined
}

export interface Goal {
  readonly text: string
  holds(figure: number): boolean
}

/** What one run is to do. */
export interface Settings {
  /** So few rounds that the figures say nothing: only whether everything runs. */
  readonly quick: boolean
}

export interface Scenario {
  readonly name: string
  run(settings: Settings): Promise<Row[]>
}

export function atLeast(least: number): Goal {
  return { text: `≥ ${least}`, holds: (figure) => figure >= least }
}

export function atMost(most: number, unit = ''): Goal {
  return { text: `≤ ${most}${unit}`, holds: (figure) => figure <= most }
}

export function exactly(wanted: number): Goal {
  return { text: String(wanted), holds: (figure) => figure === wanted }
}

interface Comparison {
  readonly measure: string
  readonly unit: string
  /** Round by round, as `against` is. */
  readonly ours: readonly number[]
  readonly against: readonly number[]
  /** What `against` was measured with. */
  readonly side: string
  readonly goal?: Goal | undefined
}

/** Two sides, by the ratio of the first to the second. */
export function ratioRow(comparison: Comparison): Row {
  return comparisonRow(comparison, spreadOf(ratios(comparison.ours, comparison.against)), '')
}

/** Two sides, by how much the first is above the second. */
export function differenceRow(comparison: Comparison): Row {
  const { ours, against, unit } = comparison
  const differences = ours.map((figure, round) => figure - (against[round] ?? NaN))
  return comparisonRow(comparison, spreadOf(differences), ` ${unit} more`)
}

function comparisonRow(
  { measure, unit, ours, against, side, goal }: Comparison,
  spread: Spread,
  suffix: string,
): Row {
  return {
    measure,
    ours: `${number(median(ours))} ${unit}`.trim(),
    against: `${`${number(median(against))} ${unit}`.trim()} ${side}`,
    result: `${withSpread(spread)}${suffix}`,
    goal,
    reached: goal?.holds(spread.median),
  }
}

/** One side by itself; a goal is reached where every round has reached it. */
export function figureRow(
  measure: string,
  figures: readonly number[],
  unit: string,
  { goal, against = '' }: { goal?: Goal; against?: string } = {},
): Row {
  const spread = spreadOf(figures)
  const ours = `${number(spread.median)} ${unit}`.trim()
  const reached = goal && figures.every((figure) => goal.holds(figure))
  return { measure, ours, against, result: withSpread(spread), goal, reached }
}

export function withSpread({ median, low, high }: Spread): string {
  return low === high ? number(median) : `${number(median)} (${number(low)} – ${number(high)})`
}

/** Three digits that mean something, and no more; whole numbers as they are. */
function number(value: number): string {
  if (Number.isInteger(value) || Math.abs(value) >= 100) return Math.round(value).toLocaleString('en')
  return value.toLocaleString('en', { maximumSignificantDigits: 3 })
}

/** What came of a scenario. */
export interface Outcome {
  readonly name: string
  readonly rows: readonly Row[]
  readonly error?: unknown
  readonly seconds: number
}

const HEAD = ['Scenario', 'Measured', 'mcp-dcr', 'Against', 'Result', 'Goal', 'Reached']

/**
 * A Markdown table that can be read as it is.
 *
 * @param judged whether it says which goals were reached
 */
export function renderTable(outcomes: readonly Outcome[], judged: boolean): string {
  const lines = outcomes.flatMap(({ name, rows, error }) => [
    ...rows.map((row, n) => [n === 0 ? name : '', ...cells(row, judged)]),
    ...(error === undefined ? [] : [[name, 'did not run', '', '', '', '', 'no']]),
  ])
  const widths = HEAD.map((head, n) => Math.max(head.length, ...lines.map((line) => line[n]?.length ?? 0)))
  const render = (line: readonly string[]): string =>
    `| ${line.map((cell, n) => cell.padEnd(widths[n] ?? 0)).join(' | ')} |`
  return [render(HEAD), render(widths.map((width) => '-'.repeat(width))), ...lines.map(render)].join('\n')
}

function cells({ measure, ours, against, result, goal, reached }: Row, judged: boolean): string[] {
  const verdict = !judged || reached === undefined ? '' : reached ? 'yes' : '**no**'
  return [measure, ours, against, result, goal?.text ?? '', verdict]
}
