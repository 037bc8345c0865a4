import { isObject } from '../json-object.js'

/** No member of OAuth is nested nearly as deep; what is could not be written again, and is left out. */
const MAX_DEPTH = 32
/** Nor is any token as long, in characters: it is kept, and sent in a header. */
const MAX_STRING = 32 * 1024
/** In characters: it is kept, and goes into URLs. */
const MAX_SCOPE = 8192

/**
 * A JSON object of a response's body, without the members that are too deep or too long; undefined where the body is
 * something else. Form-encoded bodies count.
 */
export async function readJsonObject(response: Response): Promise<Record<string, unknown> | undefined> {
  const text = await response.clone().text()
  const isForm = response.headers.get('content-type')?.includes('application/x-www-form-urlencoded') === true
  const body = isForm ? Object.fromEntries(new URLSearchParams(text)) : parse(text)
  return isObject(body)
    ? Object.fromEntries(
        Object.entries(body).filter(
          ([, value]) =>
            !isDeeperThan(value, MAX_DEPTH) && !(typeof value === 'string' && value.length > MAX_STRING),
        ),
      )
    : undefined
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isDeeperThan(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  return depth === 0 || Object.values(value).some((member) => isDeeperThan(member, depth - 1))
}

/** The members of a JSON object that have a value: `null` and `""` say as little as an absent member. */
export function withoutEmpty(body: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(body).filter(([, value]) => value !== undefined && value !== null && value !== ''),
  )
}

/** A finite number, also where the server sent it as a string; NaN for anything else, which may not even be convertible. */
export function numberOf(value: unknown): number {
  const number = typeof value === 'number' || typeof value === 'string' ? Number(value) : NaN
  return Number.isFinite(number) ? number : NaN
}

/** A space-separated scope, also where the server sent a list; undefined for one of more than 8,192 characters. */
export function scopeString(scope: unknown): string | undefined {
  const text: unknown = Array.isArray(scope)
    ? scope.filter((item) => typeof item === 'string').join(' ')
    : scope
  return typeof text === 'string' && text !== '' && text.length <= MAX_SCOPE ? text : undefined
}

/** A response with these members of a body alone: others are not used. */
export function jsonResponse(
  body: Record<string, unknown>,
  members: readonly string[],
  status: number,
): Response {
  const used = members.flatMap((name) => (Object.hasOwn(body, name) ? [[name, body[name]]] : []))
  return Response.json(Object.fromEntries(used), { status })
}

/** A body with an `error` as the error response that it means, also where it came with a 200. */
export function errorResponse(body: Record<string, unknown>, status: number): Response | undefined {
  if (typeof body['error'] !== 'string' || body['error'] === '') return undefined
  return jsonResponse(body, ['error', 'error_description'], status < 400 ? 400 : status)
}
