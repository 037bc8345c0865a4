import type { Challenge } from '../model.js'
import { scanChallenges, type ScannedChallenge } from './challenge-scanner.js'

/** A longer field line is not read at all, in characters; Node itself takes 16 KiB of headers by default. */
const MAX_LINE = 16 * 1024
/** A longer scope is not believed, in characters: it goes into the authorization request and the registration. */
const MAX_SCOPE = 4096

/** How many URLs of resource metadata are taken beside the first. */
const MAX_OTHERS = 2

/** The challenge of an answer that `fetch` has brought. */
export function challengeOf({ headers }: Response): Challenge | undefined {
  const value = headers.get('www-authenticate')
  return value === null ? undefined : parseChallenge([value])
}

/**
 * The Bearer challenge among all `WWW-Authenticate` field lines (RFC 9110 §11.6.1, RFC 6750 §3,
 * RFC 9728 §5.1): where there are several, the first that names its resource metadata. `{}` for a bare
 * `Bearer`, undefined where there is none. The URLs of the others, and of repeated parameters, come along.
 *
 * Never throws, and takes linear time: a server's header is hostile. A malformed one yields what can be read.
 */
export function parseChallenge(values: readonly string[]): Challenge | undefined {
  const bearer = scanChallenges(values.filter((value) => value.length <= MAX_LINE)).filter(
    ({ scheme }) => scheme === 'bearer',
  )
  const challenges = bearer.map(toChallenge)
  const chosen = challenges.find(({ resourceMetadata }) => resourceMetadata !== undefined) ?? challenges[0]
  const others = new Set(bearer.flatMap(({ parameters }) => metadataUrls(parameters)))
  others.delete(chosen?.resourceMetadata ?? '')
  if (chosen === undefined || others.size === 0) return chosen
  return { ...chosen, otherResourceMetadata: [...others].slice(0, MAX_OTHERS) }
}

function metadataUrls(parameters: ScannedChallenge['parameters']): string[] {
  return parameters.flatMap(([name, value]) =>
    name === 'resource_metadata' && isHttpUrl(value) ? [value] : [],
  )
}

function toChallenge({ parameters }: ScannedChallenge): Challenge {
  // A repeated parameter is illegal (RFC 9110 §11.2) but occurs.
  const first = (name: string, accept = (_value: string): boolean => true): string | undefined =>
    parameters.find(([candidate, value]) => candidate === name && accept(value))?.[1]
  const resourceMetadata = first('resource_metadata', isHttpUrl)
  const scope = first('scope', (value) => value.length <= MAX_SCOPE)
  const error = first('error')
  const errorDescription = first('error_description')
  return {
    ...(resourceMetadata !== undefined && { resourceMetadata }),
    ...(scope !== undefined && { scope }),
    ...(error !== undefined && { error }),
    ...(errorDescription !== undefined && { errorDescription }),
  }
}

function isHttpUrl(text: string): boolean {
  return /^https?:\/\//i.test(text) && URL.canParse(text)
}
