import { escapeHtml } from './html.js'
import { layout } from './layout.js'
import { timeElement } from './time.js'

/** One server, as the page shows it. */
export interface ConnectionView {
  readonly server: string
  readonly url: string
  readonly state: 'connected' | 'expired' | 'needs_authorization' | 'not_connected' | 'error'
  /** Why, as a code. */
  readonly reason?: string
  /** What to do about it. */
  readonly fix?: string
  /** Space-separated. */
  readonly scope?: string
  /** When the access token expires, in epoch milliseconds. */
  readonly expiresAt?: number
  /** When the person last signed in, in epoch milliseconds; undefined where nothing is held. */
  readonly connectedAt?: number
  /** Whether there is a refresh token. */
  readonly refreshable?: true
  /** A sign-in that this user began in this browser has not come back, or its client was refused, and registering again may help. */
  readonly unfinished: boolean
  /** Where to sign in. */
  readonly authorizationUrl: string
  /** Where the forms of this server go, without the action's name. */
  readonly actionUrl: string
}

const STATES: Readonly<Record<ConnectionView['state'], { label: string; tone: string }>> = {
  connected: { label: 'Connected', tone: 'good' },
  expired: { label: 'Expired', tone: 'warning' },
  needs_authorization: { label: 'Sign in again', tone: 'warning' },
  not_connected: { label: 'Not connected', tone: 'plain' },
  error: { label: 'Error', tone: 'bad' },
}

/**
 * A user's servers: how each stands, and what can be done.
 *
 * @param now epoch milliseconds
 */
export function connectionsPage(connections: readonly ConnectionView[], now: number): string {
  const items = connections.map((connection) => item(connection, now)).join('\n')
  return layout(
    'Connections',
    connections.length === 0
      ? '<p>This gateway has no MCP servers for you.</p>'
      : `<ul class="list">\n${items}\n</ul>`,
    ' class="wide"',
  )
}

function item(connection: ConnectionView, now: number): string {
  const { server, url, state, fix, unfinished } = connection
  const { label, tone } = STATES[state]
  return `<li>
<div class="head"><h2>${escapeHtml(server)}</h2>
<p class="state ${tone}">${label}</p></div>
<p class="muted">${escapeHtml(url)}</p>
${fix === undefined ? '' : `<p class="lines">${escapeHtml(fix)}</p>`}
${unfinished ? UNFINISHED : ''}
${facts(connection, now)}
<div class="actions">${actions(connection).join('\n')}</div>
</li>`
}

/** A client that the provider has dropped often fails on the provider's own page, with no way back from there. */
const UNFINISHED =
  '<p>A sign-in that you began has not come back, or was in vain. If the provider said that it does not know this gateway’s client, register again.</p>'

function facts(connection: ConnectionView, now: number): string {
  const { reason, scope, expiresAt, connectedAt } = connection
  const rows: [name: string, html: string][] = []
  if (reason !== undefined) rows.push(['Reason', `<code>${escapeHtml(reason)}</code>`])
  if (scope !== undefined && scope !== '') rows.push(['Scopes', scopeList(scope)])
  if (expiresAt !== undefined) {
    const name = expiresAt > now ? 'Token expires' : 'Token expired'
    rows.push([name, `${timeElement(expiresAt, now)}${afterwards(connection)}`])
  }
  if (connectedAt !== undefined) rows.push(['Signed in', timeElement(connectedAt, now)])
  if (rows.length === 0) return ''
  return `<dl>${rows.map(([name, html]) => `<div><dt>${name}</dt><dd>${html}</dd></div>`).join('\n')}</dl>`
}

function afterwards({ state, refreshable }: ConnectionView): string {
  if (state === 'expired') return ', the next request renews it'
  if (state !== 'connected') return ''
  return refreshable === true ? ', then renewed by itself' : ', then sign in again'
}

function scopeList(scope: string): string {
  return scope
    .split(' ')
    .filter((token) => token !== '')
    .map((token) => `<code>${escapeHtml(token)}</code>`)
    .join(' ')
}

function actions(connection: ConnectionView): string[] {
  const { server, state, connectedAt, refreshable, unfinished, authorizationUrl, actionUrl } = connection
  const isConnected = state === 'connected' || state === 'expired'
  const isKnown = connectedAt !== undefined
  const form = (action: string, label: string): string =>
    `<form method="post" action="${escapeHtml(`${actionUrl}/${action}`)}"><button class="button quiet">${labelFor(label, server)}</button></form>`
  return [
    `<a class="button${isConnected ? ' quiet' : ''}" href="${escapeHtml(authorizationUrl)}">${labelFor(isKnown ? 'Reconnect' : 'Connect', server)}</a>`,
    ...(refreshable === true ? [form('refresh', 'Refresh')] : []),
    ...(unfinished ? [form('register', 'Register again')] : []),
    ...(isKnown ? [form('disconnect', 'Disconnect')] : []),
  ]
}

/** To those who hear a list of buttons, each says which server it is about. */
function labelFor(label: string, server: string): string {
  return `${label}<span class="unseen"> ${escapeHtml(server)}</span>`
}
