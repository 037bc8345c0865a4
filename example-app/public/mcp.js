const PROTOCOL_VERSION = '2025-11-25'

/** A session with an MCP server over Streamable HTTP, as much of it as it takes to list and call tools. */
export async function openSession(url) {
  const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
  let lastId = 0

  async function post(message) {
    const body = JSON.stringify({ jsonrpc: '2.0', ...message })
    const answer = await fetch(url, { method: 'POST', headers, body })
    if (!answer.ok) throw new Error(await describe(answer))
    const sessionId = answer.headers.get('mcp-session-id')
    if (sessionId !== null) headers['mcp-session-id'] = sessionId
    return answer
  }

  async function request(method, params = {}) {
    const id = ++lastId
    const messages = await messagesOf(await post({ id, method, params }))
    const reply = messages.find((message) => message.id === id)
    if (reply === undefined) throw new Error('The MCP server did not reply.')
    if (reply.error) throw new Error(reply.error.message)
    return reply.result
  }

  const { protocolVersion } = await request('initialize', {
    protocolVersion: PROTOCOL_VERSION,
    capabilities: {},
    clientInfo: { name: 'example-page', version: '1.0.0' },
  })
  headers['mcp-protocol-version'] = protocolVersion
  await post({ method: 'notifications/initialized' })
  return { request }
}

async function messagesOf(answer) {
  const text = await answer.text()
  if (!answer.headers.get('content-type')?.startsWith('text/event-stream')) return [JSON.parse(text)].flat()
  return text
    .split(/\r?\n\r?\n/)
    .map((event) => [...event.matchAll(/^data: ?(.*)$/gm)].map(([, data]) => data).join('\n'))
    .filter((data) => data !== '')
    .map((data) => JSON.parse(data))
}

/** The gateway's own answers are problem details (RFC 9457). */
async function describe(answer) {
  const text = await answer.text()
  try {
    const { detail, title } = JSON.parse(text)
    return detail ?? title ?? `Status ${answer.status}`
  } catch {
    return `Status ${answer.status}`
  }
}
