/* global document */
import { openSession } from './mcp.js'

const STATES = {
  connected: 'Connected',
  expired: 'Connected, to be refreshed',
  needs_authorization: 'Sign in again',
  not_connected: 'Not connected',
  error: 'Error',
}

showServers().catch(showProblem)

async function showServers() {
  const cards = (await connections()).map(serverCard)
  document.getElementById('servers').replaceChildren(...cards)
}

async function connections() {
  const answer = await fetch('/api/oauth/connections', { headers: { accept: 'application/json' } })
  const body = await answer.json()
  if (!answer.ok) throw new Error(body.detail)
  return body.connections
}

function serverCard(connection) {
  const card = instantiate('server')
  part(card, 'name').textContent = connection.server
  part(card, 'url').textContent = connection.url
  part(card, 'list').addEventListener('click', () => listTools(card, connection.server).catch(showProblem))
  showState(card, connection)
  return card
}

function showState(card, { state, fix, authorizationUrl }) {
  const isConnected = state === 'connected' || state === 'expired'
  part(card, 'state').textContent = STATES[state] ?? state
  part(card, 'state').title = fix ?? ''
  part(card, 'state').classList.toggle('connected', isConnected)
  // Where to sign in, and where to come back to afterwards.
  part(card, 'connect').href = `${authorizationUrl}?return_to=/`
  part(card, 'connect').hidden = isConnected
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
    // It may have turned out that the token is not accepted any more.
    const connection = (await connections()).find((it) => it.server === server)
    if (connection !== undefined) showState(card, connection)
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
