import js from '@eslint/js'
import { defineConfig } from 'eslint/config'
import tseslint from 'typescript-eslint'

/** What every folder of src may import. */
const EVERYWHERE = ['model', 'modules', 'errors', 'bounded-map', 'for-each', 'json-object', 'within']

/**
 * The import boundaries of src, as allow-lists: `index → middleware → routes → gateway → oauth → store →
 * security`; oauth reads the data of providers, which stands alone. A folder may import itself, the modules of
 * EVERYWHERE, and what stands here: a folder or a module at the top of src.
 */
const MAY_IMPORT = {
  cli: ['store/', 'security/'],
  security: [],
  store: ['security/'],
  providers: [],
  oauth: ['providers/', 'store/', 'security/'],
  pages: [],
  gateway: [
    'options',
    'connections',
    'registrations',
    'server-path',
    'pages/',
    'oauth/',
    'store/',
    'security/',
  ],
  routes: ['options', 'connections', 'registrations', 'gateway/', 'pages/', 'oauth/', 'store/', 'security/'],
}

/** These know no web framework. */
const NO_EXPRESS = ['cli', 'security', 'store', 'providers', 'oauth']

/** The raw options are resolved once; below that, everything takes the resolved `Config`. */
const RAW_OPTIONS = ['Options', 'OAuthConfig', 'ServerOptions', 'Servers']
const READ_RAW_OPTIONS = [
  'src/cli/main.ts',
  'src/index.ts',
  'src/middleware.ts',
  'src/*options*.ts',
  'src/*mcp-json*.ts',
  'src/resolve-servers.ts',
]

const notFromTests = {
  regex: String.raw`(?:^|/)(?:test|example-app|bench)/`,
  message: 'The library imports nothing from its tests, examples or benchmarks.',
}
const noExpress = {
  regex: '^express(?:/|$)',
  message: 'This folder knows no web framework: what needs express belongs in src/gateway or src/routes.',
}
const noEnvironmentImport = {
  name: 'node:process',
  message: 'Use the global process; the environment is read by the options alone.',
}
const noRawOptions = {
  regex: String.raw`/options\.js$`,
  importNames: RAW_OPTIONS,
  message: 'Take the resolved Config.',
}
const noEnvironment = {
  object: 'process',
  property: 'env',
  message: 'The environment is read by the options alone.',
}

/** `allowed` has the names of folders, with a slash, and of modules at the top of src. */
function boundaries(files, allowed, patterns) {
  const targets = allowed.map((name) => (name.endsWith('/') ? name : String.raw`${name}\.js$`)).join('|')
  const boundary = {
    regex: String.raw`^(?:\./)?(?:\.\./)+(?!(?:${targets}))`,
    message: 'This crosses an import boundary: see MAY_IMPORT in eslint.config.js.',
  }
  const refused = [boundary, notFromTests, ...patterns]
  return {
    files,
    rules: {
      'no-restricted-imports': [
        'error',
        { paths: [noEnvironmentImport], patterns: [...refused, noRawOptions] },
      ],
      // no-restricted-imports sees neither import() nor import types.
      'no-restricted-syntax': ['error', ...refused.map(refusedSyntax)],
    },
  }
}

function refusedSyntax({ regex, message }) {
  const escaped = regex.replaceAll('/', String.raw`\/`)
  return { selector: `:matches(ImportExpression, TSImportType)[source.value=/${escaped}/]`, message }
}

export default defineConfig(
  { ignores: ['build/', 'dist/', 'coverage/', '.mcp-dcr/'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/consistent-type-imports': ['error', { disallowTypeAnnotations: false }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      // An async function without await turns what it throws into a rejection, as its contract promises.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // Objects here are closures: their methods do not use `this`, and are meant to be taken apart.
      '@typescript-eslint/unbound-method': 'off',
    },
  },
  {
    files: ['src/**/*.ts'],
    rules: {
      'no-restricted-properties': ['error', noEnvironment],
      'no-restricted-imports': [
        'error',
        { paths: [noEnvironmentImport], patterns: [notFromTests, noRawOptions] },
      ],
      eqeqeq: 'error',
    },
  },
  ...Object.entries(MAY_IMPORT).map(([folder, allowed]) =>
    boundaries(
      [`src/${folder}/**/*.ts`],
      [...EVERYWHERE, ...allowed],
      NO_EXPRESS.includes(folder) ? [noExpress] : [],
    ),
  ),
  {
    files: EVERYWHERE.map((module) => `src/${module}.ts`),
    rules: {
      'no-restricted-imports': [
        'error',
        { patterns: [{ regex: '.', message: 'What everything may import imports nothing.' }] },
      ],
    },
  },
  {
    files: READ_RAW_OPTIONS,
    rules: {
      'no-restricted-properties': 'off',
      'no-restricted-imports': ['error', { paths: [noEnvironmentImport], patterns: [notFromTests] }],
    },
  },
  {
    files: ['test/**/*.ts', 'example-app/**/*.ts', 'bench/**/*.ts'],
    rules: {
      // supertest bodies, parsed JSON and hostile values are what tests are about.
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: false }],
      '@typescript-eslint/no-base-to-string': 'off',
      '@typescript-eslint/restrict-template-expressions': 'off',
    },
  },
  {
    files: ['**/*.js'],
    languageOptions: {
      globals: { console: 'readonly', process: 'readonly', URL: 'readonly', fetch: 'readonly' },
    },
  },
)
