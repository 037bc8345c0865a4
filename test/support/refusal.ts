/** What the gateway says went wrong. */
export interface Refusal {
  code?: string
  authorizationUrl?: string
  server?: string
  fix?: string
}

interface Body extends Refusal {
  error?: { data?: Refusal }
  result?: { _meta?: Record<string, Refusal> }
}

/** The same of every form that an answer may have: problem details, a JSON-RPC error, the result of a tool. */
export async function refusalOf(answer: Response): Promise<Refusal> {
  const body = (await answer.json()) as Body
  return body.error?.data ?? body.result?._meta?.['mcp-dcr/error'] ?? body
}
