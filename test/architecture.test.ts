import { dirname } from 'node:path'
import { ESLint } from 'eslint'
import tseslint from 'typescript-eslint'
import { describe, expect, it } from 'vitest'

// The snippets are no files of the project, and the boundaries need no types.
const eslint = new ESLint({
  cwd: dirname(import.meta.dirname),
  overrideConfig: [tseslint.configs.disableTypeChecked],
})

const BOUNDARY_RULES = ['no-restricted-imports', 'no-restricted-syntax', 'no-restricted-properties']

/** What the boundary rules say of a file with this content. */
async function refusals(filePath: string, code: string): Promise<string[]> {
  const [result] = await eslint.lintText(`${code}\n`, { filePath })
  const messages = result?.messages ?? []
  expect(messages.filter((message) => message.fatal)).toEqual([])
  return messages.flatMap(({ ruleId }) =>
    ruleId !== null && BOUNDARY_RULES.includes(ruleId) ? [ruleId] : [],
  )
}

describe('the import boundaries refuse', () => {
  it.each([
    ['src/oauth/x.ts', `import express from 'express'`],
    ['src/oauth/x.ts', `import type { Request } from 'express'`],
    ['src/oauth/x.ts', `export type { Request } from 'express'`],
    ['src/oauth/x.ts', `export const express = await import('express')`],
    ['src/oauth/x.ts', `export type Req = import('express').Request`],
    ['src/cli/x.ts', `import '../oauth/discover.js'`],
    ['src/oauth/deeper/x.ts', `import express from 'express'`],
    ['src/store/x.ts', `import express from 'express'`],
    ['src/security/x.ts', `import express from 'express'`],
    ['src/oauth/x.ts', `import '../gateway/answer.js'`],
    ['src/oauth/x.ts', `import '../routes/index.js'`],
    ['src/oauth/x.ts', `import '../pages/html.js'`],
    ['src/oauth/x.ts', `import '../middleware.js'`],
    ['src/oauth/x.ts', `import '../index.js'`],
    ['src/oauth/x.ts', `import '../options.js'`],
    ['src/oauth/x.ts', `export const answer = await import('../gateway/answer.js')`],
    ['src/oauth/x.ts', `export type Answer = import('../gateway/intercept.js').Answer`],
    ['src/store/x.ts', `import '../oauth/discover.js'`],
    ['src/security/x.ts', `import '../store/records.js'`],
    ['src/security/x.ts', `import '../oauth/discover.js'`],
    ['src/pages/x.ts', `import '../gateway/answer.js'`],
    ['src/providers/x.ts', `import '../oauth/discover.js'`],
    ['src/providers/x.ts', `import '../options.js'`],
    ['src/providers/x.ts', `import express from 'express'`],
    ['src/store/x.ts', `import '../providers/index.js'`],
    ['src/gateway/x.ts', `import '../providers/index.js'`],
    ['src/gateway/x.ts', `import '../routes/index.js'`],
    ['src/gateway/x.ts', `import '../middleware.js'`],
    ['src/routes/x.ts', `import '../middleware.js'`],
    ['src/model.ts', `import './oauth/discover.js'`],
    ['src/errors.ts', `import 'express'`],
    ['src/store/x.ts', `import '../../test/support/server.js'`],
    ['src/x.ts', `import '../test/support/server.js'`],
  ])('%s: %s', async (file, code) => {
    expect(await refusals(file, code)).not.toEqual([])
  })
})

describe('raw options and the environment are refused', () => {
  it.each([
    ['src/gateway/x.ts', `import type { Options } from '../options.js'`],
    ['src/routes/x.ts', `import { type Servers } from '../options.js'`],
    ['src/create-context.ts', `import type { Options } from './options.js'`],
    ['src/gateway/x.ts', `export const port = process.env.PORT`],
    ['src/store/x.ts', `export const { env } = process`],
    ['src/create-context.ts', `export const port = process.env['PORT']`],
    ['src/security/x.ts', `import { env } from 'node:process'`],
  ])('%s: %s', async (file, code) => {
    expect(await refusals(file, code)).not.toEqual([])
  })
})

describe('the import boundaries allow', () => {
  it.each([
    ['src/oauth/x.ts', `import '../store/records.js'\nimport '../security/seal.js'\nimport '../errors.js'`],
    ['src/oauth/x.ts', `import './discover.js'\nimport 'openid-client'`],
    ['src/oauth/x.ts', `import '../providers/match-issuer.js'`],
    ['src/providers/x.ts', `import './provider-profile.js'\nimport '../model.js'\nimport '../errors.js'`],
    ['src/store/x.ts', `import '../security/seal.js'\nimport '../model.js'\nimport '../bounded-map.js'`],
    [
      'src/gateway/x.ts',
      `import express from 'express'\nimport '../oauth/discover.js'\nimport '../pages/html.js'`,
    ],
    ['src/gateway/x.ts', `import type { Config } from '../options.js'`],
    ['src/routes/x.ts', `import express from 'express'\nimport '../gateway/answer.js'`],
    ['src/middleware.ts', `import type { Options } from './options.js'\nimport './routes/index.js'`],
    ['src/resolve-options.ts', `export const key = process.env.OAUTH_ENCRYPTION_KEY`],
    ['test/oauth/x.test.ts', `import express from 'express'\nimport '../../src/oauth/discover.js'`],
  ])('%s: %s', async (file, code) => {
    expect(await refusals(file, code)).toEqual([])
  })
})
