/** A challenge of any scheme; names are in lower case, values unquoted. */
export interface ScannedChallenge {
  readonly scheme: string
  readonly parameters: readonly (readonly [name: string, value: string])[]
}

const TOKEN = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y
const TOKEN68 = /[A-Za-z0-9\-._~+/]+=*(?=[ \t]*(?:,|$))/y
const SPACE = /[ \t]*/y
/** Wider than a token: servers send URLs without quotes. */
const BARE_VALUE = /[^\s,"]*/y
const GARBAGE = /[^\s,"]+|\s+/y
// eslint-disable-next-line no-control-regex -- RFC 9110 §5.6.4: only a tab may stand in a quoted-string
const CONTROL = /[\0-\x08\x0a-\x1f\x7f]/

/**
 * Reads field lines as one list (RFC 9110 §5.3, §11.6.1): a line may continue the challenge of the line
 * before it. What is malformed is skipped, so that what follows can still be read.
 *
 * Each character is looked at a bounded number of times: no expression runs across a comma or a quote
 * that a later one would run across again.
 */
export function scanChallenges(lines: Iterable<string>): ScannedChallenge[] {
  const found: { scheme: string; parameters: [string, string][] }[] = []
  for (const line of lines) scanLine(line, found)
  return found
}

function scanLine(line: string, found: { scheme: string; parameters: [string, string][] }[]): void {
  let at = 0
  let elementStarts = true

  const read = (expression: RegExp): string => {
    expression.lastIndex = at
    const text = expression.exec(line)?.[0] ?? ''
    at += text.length
    return text
  }

  while (at < line.length) {
    if (read(SPACE) !== '') continue
    if (line[at] === ',') {
      at++
      elementStarts = true
      continue
    }
    const token = read(TOKEN)
    if (token === '') {
      // An unterminated quote takes the rest of the line with it.
      if (line[at] !== '"') read(GARBAGE)
      else at = (readQuoted(line, at) ?? { end: line.length }).end
      elementStarts = false
      continue
    }
    const afterToken = at
    read(SPACE)
    if (line[at] === '=') {
      at++
      read(SPACE)
      let value: string | undefined
      if (line[at] === '"') {
        const quoted = readQuoted(line, at)
        if (quoted === undefined) return
        value = quoted.value
        at = quoted.end
      } else {
        value = read(BARE_VALUE)
      }
      if (value !== '' && !CONTROL.test(value)) found.at(-1)?.parameters.push([token.toLowerCase(), value])
      elementStarts = false
      continue
    }
    const scheme = token.toLowerCase()
    // Servers forget the comma before it; any other word in this place is the rest of an unquoted value.
    if (elementStarts || scheme === 'bearer') {
      found.push({ scheme, parameters: [] })
      if (at > afterToken) read(TOKEN68)
    }
    elementStarts = false
  }
}

/** A quoted-string (RFC 9110 §5.6.4) that starts at a position; undefined where it does not end. */
function readQuoted(line: string, start: number): { value: string; end: number } | undefined {
  let value = ''
  let from = start + 1
  for (let at = from; at < line.length; at++) {
    if (line[at] === '"') return { value: value + line.slice(from, at), end: at + 1 }
    if (line[at] === '\\') {
      value += line.slice(from, at)
      at++
      from = at
    }
  }
  return undefined
}
