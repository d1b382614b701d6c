// Asks each target once with java.net.http.HttpClient.  Arguments: the PEM file of the roots, seconds to wait, then
// name:port for each target (names lead to 127.0.0.1 by -Djdk.net.hosts.file).  Prints a line for each:
// "ok", or the messages of the exception and its causes, joined by " / ".
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class TlsClient {
    public static void main(String[] args) throws Exception {
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        try (InputStream pem = Files.newInputStream(Path.of(args[0]))) {
            int number = 0;
            for (Certificate root : CertificateFactory.getInstance("X.509").generateCertificates(pem)) {
                trusted.setCertificateEntry("root" + number++, root);
            }
        }
        TrustManagerFactory judges = TrustManagerFactory.getInstance("PKIX");
        judges.init(trusted);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, judges.getTrustManagers(), null);
        Duration patience = Duration.ofMillis((long) (Double.parseDouble(args[1]) * 1000));
        for (int i = 2; i < args.length; i++) {
            HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1)
                .sslContext(context).connectTimeout(patience).build();
            HttpRequest request = HttpRequest.newBuilder(URI.create("https://" + args[i] + "/")).timeout(patience).build();
            try {
                client.send(request, HttpResponse.BodyHandlers.discarding());
                System.out.println("ok");
            } catch (Exception error) {
                System.out.println(chain(error));
            }
        }
        System.exit(0); // the clients' threads do not end by themselves
    }

    private static String chain(Throwable error) {
        StringBuilder said = new StringBuilder();
        String last = null;
        for (Throwable one = error; one != null; one = one.getCause()) {
            String words = one.getClass().getSimpleName() + ": " + one.getMessage();
            if (!words.equals(last)) {
                said.append(last == null ? "" : " / ").append(words.replace('\n', ' '));
            }
            last = words;
        }
        return said.toString();
    }
}
