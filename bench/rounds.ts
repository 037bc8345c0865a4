/** How often, and after how many rounds that do not count. */
export interface Rounds {
  readonly rounds: number
  readonly warmUp: number
}

/**
 * Measures several sides in turns, so that whatever else the machine does meets all of them; each round begins with
 * another side.
 *
 * @returns what each side came to, round by round
 */
export async function interleave<Side extends string, T>(
  { rounds, warmUp }: Rounds,
  sides: Readonly<Record<Side, () => Promise<T>>>,
): Promise<Record<Side, T[]>> {
  const names = Object.keys(sides) as Side[]
  const results = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<Side, T[]>
  for (let round = -warmUp; round < rounds; round++) {
    const first = (round + warmUp) % names.length
    for (const name of [...names.slice(first), ...names.slice(0, first)]) {
      const result = await sides[name]()
      if (round >= 0) results[name].push(result)
    }
  }
  return results
}

/** The middle of several figures, and between which two half of them lie. */
export interface Spread {
  readonly median: number
  readonly low: number
  readonly high: number
}

export function spreadOf(figures: readonly number[]): Spread {
  return { median: quantile(figures, 0.5), low: quantile(figures, 0.25), high: quantile(figures, 0.75) }
}

export function median(figures: readonly number[]): number {
  return quantile(figures, 0.5)
}

/** Interpolates linearly; NaN for no figures. */
export function quantile(figures: readonly number[], share: number): number {
  const sorted = Float64Array.from(figures).sort()
  const at = (sorted.length - 1) * share
  const [below = NaN, above = below] = sorted.subarray(Math.floor(at), Math.floor(at) + 2)
  return below + (above - below) * (at % 1)
}

/** Round by round: what disturbed a round has mostly disturbed both. */
export function ratios(ours: readonly number[], theirs: readonly number[]): number[] {
  return ours.map((figure, round) => figure / (theirs[round] ?? NaN))
}
