import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Provider } from 'oidc-provider'
import { html, page, PAGE_HEADERS } from './html.js'

type Interaction = Awaited<ReturnType<Provider['interactionDetails']>>

/** What the consent prompt is still missing, as oidc-provider puts it. */
interface Missing {
  missingOIDCScope?: string[]
  missingOIDCClaims?: string[]
  missingResourceScopes?: Record<string, string[]>
}

/** Answers `/interaction/:uid`: shows the page that the pending prompt needs, and takes its form. */
export async function answerInteraction(provider: Provider, req: IncomingMessage, res: ServerResponse) {
  let interaction: Interaction
  try {
    interaction = await provider.interactionDetails(req, res)
  } catch {
    return show(
      res,
      400,
      'Start again',
      html`<h1>Start again</h1>
        <p>This sign-in is not known here, or it has expired.</p>`,
    )
  }
  if (req.method !== 'POST') return showPrompt(provider, interaction, res)

  const form = await readForm(req)
  const result =
    interaction.prompt.name === 'login' ? signIn(form) : await decide(provider, interaction, form)
  if (!result) return showPrompt(provider, interaction, res)
  await provider.interactionFinished(req, res, result, { mergeWithLastSubmission: true })
}

function signIn(form: URLSearchParams) {
  const accountId = form.get('login')?.trim()
  return accountId ? { login: { accountId } } : undefined
}

async function decide(provider: Provider, interaction: Interaction, form: URLSearchParams) {
  if (form.get('decision') === 'deny') {
    return { error: 'access_denied', error_description: 'The person denied access' }
  }
  if (form.get('decision') !== 'allow') return undefined

  const existing = interaction.grantId ? await provider.Grant.find(interaction.grantId) : undefined
  const grant =
    existing ??
    new provider.Grant({
      accountId: interaction.session?.accountId ?? '',
      clientId: String(interaction.params.client_id),
    })
  const missing = interaction.prompt.details as Missing
  if (missing.missingOIDCScope) grant.addOIDCScope(missing.missingOIDCScope.join(' '))
  if (missing.missingOIDCClaims) grant.addOIDCClaims(missing.missingOIDCClaims)
  for (const [resource, scopes] of Object.entries(missing.missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(' '))
  }
  return { consent: { grantId: await grant.save() } }
}

async function showPrompt(provider: Provider, interaction: Interaction, res: ServerResponse) {
  const client = await provider.Client.find(String(interaction.params.client_id))
  const clientName = client?.clientName ?? client?.clientId ?? 'An unknown client'
  if (interaction.prompt.name === 'login') {
    return show(
      res,
      200,
      'Sign in',
      html`<h1>Sign in</h1>
        <p>to continue to <strong>${clientName}</strong></p>
        <form method="post">
          <label for="login">Username</label>
          <input id="login" name="login" autocomplete="username" autocapitalize="none" required autofocus />
          <label for="password">Password</label>
          <input id="password" name="password" type="password" autocomplete="current-password" />
          <button type="submit">Sign in</button>
        </form>
        <p><small>This is a test server: any name and any password will do.</small></p>`,
    )
  }
  const scopes = String(interaction.params.scope ?? '')
    .split(' ')
    .filter(Boolean)
  const resources = [interaction.params.resource ?? []].flat().map(String)
  return show(
    res,
    200,
    'Consent',
    html`<h1>Consent</h1>
      <p>
        <strong>${clientName}</strong> asks for
        access${resources.length > 0 && html` to ${resources.join(', ')}`}.
      </p>
      <ul>
        ${scopes.map((scope) => html`<li>${scope}</li>`)}
      </ul>
      <form method="post">
        <button type="submit" name="decision" value="allow">Allow</button>
        <button type="submit" name="decision" value="deny" class="quiet">Deny</button>
      </form>
      <p><small>Signed in as ${interaction.session?.accountId}</small></p>`,
  )
}

function show(res: ServerResponse, status: number, title: string, content: ReturnType<typeof html>) {
  res.writeHead(status, PAGE_HEADERS).end(page(title, content))
}

async function readForm(req: IncomingMessage): Promise<URLSearchParams> {
  const chunks: Buffer[] = []
  for await (const chunk of req) chunks.push(chunk as Buffer)
  return new URLSearchParams(Buffer.concat(chunks).toString())
}
