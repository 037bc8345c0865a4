/* global document */
import { openSession } from './mcp.js'

const STATES = {
  connected: 'Connected',
  expired: 'Connected, to be refreshed',
  needs_authorization: 'Sign in again',
  not_connected: 'Not connected',
}

showServers().catch(showProblem)

async function showServers() {
  const answer = await fetch('/api/oauth/connections', { headers: { accept: 'application/json' } })
  const body = await answer.json()
  if (!answer.ok) throw new Error(body.detail)
  const cards = await Promise.all(body.connections.map(serverCard))
  document.getElementById('servers').replaceChildren(...cards)
}

function serverCard({ server, url, state, authorizationUrl }) {
  const card = instantiate('server')
  const isConnected = state === 'connected' || state === 'expired'
  part(card, 'name').textContent = server
  part(card, 'url').textContent = url
  part(card, 'state').textContent = STATES[state] ?? state
  part(card, 'state').classList.toggle('connected', isConnected)
  // Where to sign in, and where to come back to afterwards.
  part(card, 'connect').href = `${authorizationUrl}?return_to=/`
  part(card, 'connect').hidden = isConnected
  part(card, 'list').addEventListener('click', () => listTools(card, server))
  return card
}

async function listTools(card, server) {
  const message = part(card, 'message')
  say(message, 'Asking…')
  try {
    const session = await openSession(`/mcp/${encodeURIComponent(server)}`)
    const { tools } = await session.request('tools/list')
    part(card, 'tools').replaceChildren(...tools.map((tool) => toolForm(session, tool)))
    say(message, tools.length === 0 ? 'It has no tools.' : undefined)
  } catch (error) {
    say(message, error.message)
  }
}

function toolForm(session, { name, description, inputSchema }) {
  const form = instantiate('tool')
  const input = part(form, 'arguments')
  const output = form.querySelector('output')
  part(form, 'name').textContent = name
  part(form, 'description').textContent = description ?? ''
  input.value = JSON.stringify(exampleOf(inputSchema))
  input.parentElement.hidden = Object.keys(inputSchema.properties ?? {}).length === 0
  form.dataset.tool = name
  form.addEventListener('submit', async (event) => {
    event.preventDefault()
    output.textContent = 'Calling…'
    try {
      const result = await session.request('tools/call', { name, arguments: JSON.parse(input.value) })
      output.textContent = result.content.map((it) => it.text ?? JSON.stringify(it)).join('\n')
    } catch (error) {
      output.textContent = error.message
    }
  })
  return form
}

/** Something to begin with, for each argument that the tool requires. */
function exampleOf({ properties = {}, required = [] }) {
  const examples = { string: '', number: 1, integer: 1, boolean: false, array: [], object: {} }
  return Object.fromEntries(required.map((name) => [name, examples[properties[name]?.type] ?? null]))
}

function instantiate(templateId) {
  return document.getElementById(templateId).content.cloneNode(true).firstElementChild
}

function part(element, name) {
  return element.querySelector(`[data-${name}]`)
}

function say(element, text) {
  element.textContent = text ?? ''
  element.hidden = text === undefined
}

function showProblem(error) {
  say(document.getElementById('problem'), error.message)
  document.getElementById('servers').replaceChildren()
}
