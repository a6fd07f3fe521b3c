// An OpenID provider on a loopback port, which it prints. It issues access tokens as RFC 9068 has them: to a client in
// its own name, to a user (a grant type of this test's, in place of a browser), and by token exchange (RFC 8693), where
// the client becomes the current actor. Each line on standard input has it take a new signing key.
import http from 'node:http';
import { generateKeyPairSync } from 'node:crypto';
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

const user = 'urn:aver:test:user';
const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
const client = (id) => ({
  client_id: id, client_secret: `${id}-secret`, id_token_signed_response_alg: 'ES256', redirect_uris: [], response_types: [],
  grant_types: ['client_credentials', user, exchange],
});

let keys = 0;
function newKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...privateKey.export({ format: 'jwk' }), kid: `k${++keys}`, alg: 'ES256', use: 'sig' };
}

const acts = new WeakMap(); // of access tokens while they are being made
const issued = new Map(); // :: who stands in it; JWT access tokens are in no store of the provider

function newProvider(issuer) {
  const resource = async (_ctx, indicator) => ({
    scope: 'pay read', audience: indicator, accessTokenFormat: 'jwt', accessTokenTTL: 300, jwt: { sign: { alg: 'ES256' } },
  });
  const provider = new Provider(issuer, {
    clients: [client('portal'), client('assistant'), client('tool')],
    jwks: { keys: [newKey()] },
    scopes: ['pay', 'read'],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: { enabled: true, getResourceServerInfo: resource, defaultResource: () => undefined },
    },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    extraTokenClaims: (ctx, token) => ({
      ...(acts.has(token) && { act: acts.get(token) }),
      ...(ctx?.oidc.params.groups && { groups: ctx.oidc.params.groups.split(' ') }),
    }),
  });
  async function issue(ctx, accountId, act) {
    const { params, client } = ctx.oidc;
    const token = new provider.AccessToken({ accountId, client, scope: params.scope });
    token.resourceServer = new provider.ResourceServer(params.resource, await resource(ctx, params.resource));
    if (params.details) token.rar = JSON.parse(params.details);
    if (act) acts.set(token, act);
    ctx.oidc.entity('AccessToken', token);
    const value = await token.save();
    issued.set(value, { accountId, act });
    ctx.body = { access_token: value, token_type: 'Bearer', expires_in: token.expiration };
  }
  provider.registerGrantType(user, (ctx) => issue(ctx, ctx.oidc.params.user), ['user', 'scope', 'resource', 'details', 'groups']);
  provider.registerGrantType(exchange, async (ctx) => {
    const subject = issued.get(ctx.oidc.params.subject_token);
    ctx.assert(subject, 400, 'unknown subject_token');
    await issue(ctx, subject.accountId, { sub: ctx.oidc.client.clientId, ...(subject.act && { act: subject.act }) });
  }, ['subject_token', 'subject_token_type', 'scope', 'resource', 'details']);
  return provider;
}

const server = http.createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  let callback = newProvider(issuer).callback();
  server.on('request', (request, response) => callback(request, response));
  createInterface({ input: process.stdin })
    .on('line', () => { callback = newProvider(issuer).callback(); console.log(`rotated to k${keys}`); })
    .on('close', () => process.exit(0));
  console.log(issuer);
});
