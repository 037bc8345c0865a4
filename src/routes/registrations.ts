import type { Request } from 'express'
import { McpDcrError } from '../errors.js'
import { jsonAnswer } from '../gateway/answer.js'
import { baseUrlOf } from '../gateway/base-url.js'
import type { GatewayContext } from '../gateway/context.js'
import { createRegistrations, type Registrations } from '../registrations.js'
import type { Route } from './index.js'
import { assertSameOrigin } from './same-origin.js'

/** `GET /registrations` */
export const listRegistrations: Route = async (context, req) => {
  await requireAdmin(context, req)
  return jsonAnswer({ registrations: await context.registrations.list() })
}

/** `GET /registrations/:id`: what the issuer says, beside what is held. */
export const readRegistration: Route = async (context, req) => {
  await requireAdmin(context, req)
  return jsonAnswer(await context.registrations.read(idOf(req)))
}

/** `PUT /registrations/:id`: changes the client metadata in the body, which is read once {@link requireAdmin} has let it through. */
export const updateRegistration: Route = async (context, req) => {
  const body = req.body as Record<string, unknown>
  return jsonAnswer({ registration: await context.registrations.update(idOf(req), body) })
}

/** `POST /registrations/:id/renew` */
export const renewRegistration: Route = async (context, req) => {
  await requireAdmin(context, req)
  const registrations = await registrationsFor(context, req)
  return jsonAnswer({ registration: await registrations.renew(idOf(req)) })
}

/** `DELETE /registrations/:id` */
export const deleteRegistration: Route = async (context, req) => {
  await requireAdmin(context, req)
  await context.registrations.delete(idOf(req))
  return { status: 204, headers: { 'cache-control': 'no-store' } }
}

/** Those of the gateway, with the servers of this request, where they depend on it: by them it can register again. */
async function registrationsFor(
  { config, oauth, registrations }: GatewayContext,
  req: Request,
): Promise<Registrations> {
  if (config.servers !== undefined) return registrations
  const servers = await config.serversOf(req)
  return createRegistrations(oauth, (name) => servers.find((server) => server.name === name))
}

/**
 * Without an `admin` option these routes are not there; with it, they are for whom it lets through.
 *
 * @throws McpDcrError `not_found`, `cross_site_request`, `admin_required`
 */
export async function requireAdmin({ config }: GatewayContext, req: Request): Promise<void> {
  if (config.admin === undefined) {
    throw new McpDcrError('not_found', 'Registrations are managed where the admin option is set.', {
      fix: 'Set admin: (req) => whether this request may manage them; or use dcr.registrations.',
    })
  }
  if (req.method !== 'GET' && req.method !== 'HEAD') assertSameOrigin(req, baseUrlOf(config, req))
  if ((await config.admin(req)) === true) return
  throw new McpDcrError('admin_required', 'Managing registrations is for administrators of the gateway.', {
    fix: 'Sign in to the gateway as one.',
  })
}

function idOf({ params }: Request): string {
  return String(params['id'])
}
