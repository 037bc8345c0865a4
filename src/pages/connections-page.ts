import { escapeHtml } from './html.js'
import { layout } from './layout.js'

/** One server, as the page shows it. */
export interface ConnectionView {
  readonly server: string
  readonly url: string
  readonly state: 'connected' | 'expired' | 'needs_authorization' | 'not_connected'
  /** A sign-in that this user began in this browser has not come back, and registering again may help. */
  readonly unfinished: boolean
  /** Where to sign in. */
  readonly authorizationUrl: string
  /** Where the forms of this server go, without the action's name. */
  readonly actionUrl: string
}

const STATES: Readonly<Record<ConnectionView['state'], string>> = {
  connected: 'Connected',
  expired: 'Connected; the token is refreshed when it is needed',
  needs_authorization: 'Sign in again',
  not_connected: 'Not connected',
}

/** A user's servers: how each stands, and what can be done. */
export function connectionsPage(connections: readonly ConnectionView[]): string {
  const items = connections.map(item).join('\n')
  return layout(
    'Connections',
    connections.length === 0
      ? '<p>This gateway has no MCP servers for you.</p>'
      : `<ul class="plain">\n${items}\n</ul>`,
  )
}

function item(connection: ConnectionView): string {
  const { server, url, state, unfinished } = connection
  return `<li>
<h2>${escapeHtml(server)}</h2>
<p class="muted">${escapeHtml(url)}</p>
<p>${STATES[state]}</p>
${unfinished ? UNFINISHED : ''}
<div class="actions">${actions(connection).join(' ')}</div>
</li>`
}

/** A client that the provider has dropped often fails on the provider's own page, with no way back from there. */
const UNFINISHED =
  '<p>A sign-in that you began has not come back. If the provider said that it does not know this gateway’s client, register again.</p>'

function actions({ state, unfinished, authorizationUrl, actionUrl }: ConnectionView): string[] {
  const isConnected = state === 'connected' || state === 'expired'
  const label = isConnected ? 'Reconnect' : 'Connect'
  return [
    `<a class="button${isConnected ? ' quiet' : ''}" href="${escapeHtml(authorizationUrl)}">${label}</a>`,
    ...(unfinished ? [form(`${actionUrl}/register`, 'Register again')] : []),
    ...(state === 'not_connected' ? [] : [form(`${actionUrl}/disconnect`, 'Disconnect')]),
  ]
}

function form(action: string, label: string): string {
  return `<form method="post" action="${escapeHtml(action)}"><button class="button quiet">${label}</button></form>`
}
