/** A JSON object of a response's body; undefined where the body is something else. Form-encoded bodies count (GitHub). */
export async function readJsonObject(response: Response): Promise<Record<string, unknown> | undefined> {
  const text = await response.clone().text()
  if (response.headers.get('content-type')?.includes('application/x-www-form-urlencoded') === true) {
    return Object.fromEntries(new URLSearchParams(text))
  }
  try {
    const body: unknown = JSON.parse(text)
    return typeof body === 'object' && body !== null && !Array.isArray(body)
      ? (body as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

/** The members of a JSON object that have a value: `null` and `""` say as little as an absent member. */
export function withoutEmpty(body: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null && value !== ''))
}

/** A space-separated scope, also where the server sent a list. */
export function scopeString(scope: unknown): string | undefined {
  if (Array.isArray(scope)) return scope.filter((item) => typeof item === 'string').join(' ') || undefined
  return typeof scope === 'string' ? scope : undefined
}

/** A response with this JSON body. */
export function jsonResponse(body: Record<string, unknown>, status: number): Response {
  return Response.json(body, { status })
}
